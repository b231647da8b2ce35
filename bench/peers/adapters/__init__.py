"""One module a peer: `build(task)` leaves files, untimed; `Peer(task)` opens them; `guide(prompts)` answers."""
