#pragma once

#include <pybind11/pybind11.h>

#include <optional>

namespace guidealign::binding {

/// Releases the GIL for a block, but only where the work is worth it. Handing the lock to a waiting thread and taking
/// it back costs tens of microseconds, so work of fewer is done faster by keeping it, for both threads.
class GilReleaseIf {
  public:
    explicit GilReleaseIf(bool is_worth_it) {
        if (is_worth_it) release_.emplace();
    }

  private:
    std::optional<pybind11::gil_scoped_release> release_;
};

}  // namespace guidealign::binding
