#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>

#include "guidealign/vectors.hpp"
#include "guidealign/views.hpp"

/// NumPy arrays as the engine's views. Arguments are bound with noconvert(), so an array of another type or layout is
/// refused and never copied in silence.
namespace guidealign::binding {

namespace py = pybind11;

template <class T>
using CArray = py::array_t<T, py::array::c_style>;

inline void require_dimensions(const py::array& array, py::ssize_t dimensions, const char* name) {
    if (array.ndim() != dimensions) {
        throw std::invalid_argument(std::string(name) + " has " + std::to_string(array.ndim()) +
                                    " dimensions; it must have " + std::to_string(dimensions));
    }
}

template <class T>
MatrixView<const T> matrix_view(const CArray<T>& array, const char* name) {
    require_dimensions(array, 2, name);
    return {array.data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
}

template <class T>
std::span<const T> vector_view(const CArray<T>& array, const char* name) {
    require_dimensions(array, 1, name);
    return {array.data(), static_cast<std::size_t>(array.size())};
}

template <class T>
MatrixView<T> writable(CArray<T>& array)
    requires(!std::is_const_v<T>)
{
    if (array.ndim() != 2) throw std::logic_error("a result matrix must have two dimensions");
    return {array.mutable_data(), static_cast<std::size_t>(array.shape(0)), static_cast<std::size_t>(array.shape(1))};
}

template <class T>
std::span<T> writable_vector(CArray<T>& array) {
    return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

/// A std::vector's values in an array that owns a copy.
template <class T>
CArray<T> to_array(const std::vector<T>& values) {
    return CArray<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

/// float16 or int8 vectors; `scales` are read for int8 only.
inline StoredVectors stored_vectors(const py::array& vectors, const CArray<float>& scales) {
    require_dimensions(vectors, 2, "vectors");
    if ((vectors.flags() & py::array::c_style) == 0) throw std::invalid_argument("vectors must be C-contiguous");
    const auto rows = static_cast<std::size_t>(vectors.shape(0));
    const auto columns = static_cast<std::size_t>(vectors.shape(1));
    if (vectors.dtype().kind() == 'f' && vectors.itemsize() == 2) {
        return HalfVectors{{static_cast<const Half*>(vectors.data()), rows, columns}};
    }
    if (vectors.dtype().kind() == 'i' && vectors.itemsize() == 1) {
        const auto scale_view = vector_view(scales, "scales");
        if (scale_view.size() != rows) throw std::invalid_argument("scales must have one entry for each vector");
        return Int8Vectors{{static_cast<const std::int8_t*>(vectors.data()), rows, columns}, scale_view};
    }
    throw std::invalid_argument("vectors have dtype " + std::string(py::str(vectors.dtype())) +
                                "; allowed: float16, int8");
}

}  // namespace guidealign::binding
