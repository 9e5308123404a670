// Products of Householder reflectors in compact form: Q = H_0 ... H_(b-1) = I - V T V' with unit
// lower trapezoidal V (m x b) and upper triangular T (Schreiber and Van Loan 1989). All here is
// row-major, so reflector i is row i of V'.
#pragma once

#include <cstdint>

namespace lowrank {

// H x = beta e_1 for H = I - tau v v' with v_0 = 1 and x of m elements; x becomes v. Returns tau, 0
// if x is a multiple of e_1 already. Squares are taken in float64, where those of float32 neither
// overflow nor vanish.
template <class T> T reflect(int64_t m, T* x, T& beta);

// The most reflectors of one product.
constexpr int64_t kPanelRows = 64;

// Factorises A' = Q R for the rows of `a` (b x m, b <= kPanelRows): recursive QR (Elmroth and
// Gustavson 2000). Row i of `a` becomes reflector i, with its zeros and its one; the rows of `r` (b
// x b) become those of R', of which row i has min(i + 1, m) elements; `t` becomes T (b x b, stride
// `strideT`), zero below the diagonal. With m < b, only the first m rows become reflectors; the
// others become zero.
template <class T> void factoriseRows(int64_t b, int64_t m, T* a, int64_t stride, T* r, T* t, int64_t strideT);

// Extends T of the first `h` reflectors and T of the other `b - h`, both on the diagonal of `t`, to
// T of all b.
template <class T>
void joinProducts(int64_t h, int64_t b, int64_t m, const T* v, int64_t stride, T* t, int64_t strideT);

} // namespace lowrank
