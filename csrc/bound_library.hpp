#pragma once

#include "arrays.hpp"
#include "guidealign/library.hpp"

namespace guidealign::binding {

/// A checked library, and the arrays that it looks at. Made once, so that a request hands over one object instead of
/// ten arrays to be checked again.
class BoundLibrary {
  public:
    BoundLibrary(py::array vectors, CArray<float> scales, CArray<std::int32_t> owners,
                 CArray<std::int64_t> vector_offsets, CArray<float> priority, CArray<std::uint8_t> kinds,
                 py::array symbols, CArray<std::int64_t> symbol_offsets, std::size_t alphabet_size);

    [[nodiscard]] const Library& view() const { return view_; }

  private:
    py::tuple arrays_;
    Library view_;
};

}  // namespace guidealign::binding
