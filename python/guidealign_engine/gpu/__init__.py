"""Encoder, search and exact scores on GPUs; nothing here is imported by an engine on the CPU."""
