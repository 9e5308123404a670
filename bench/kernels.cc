// Compares the kernel of block Krylov methods (native/blas/skinny.h) with OpenBLAS' sgemm on one
// thread, for bench/kernels.mjs: kernels <n> <seconds>. Prints a line of JSON with the vector
// instructions, OpenBLAS' kernel, and the rates in 10^9 multiplications and additions a second: of both
// halves of a pass over a panel of n columns, and of sgemm at 1024. Runs alternate; the best counts.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "blas/lapack.h"
#include "core/simd.h"
#include "blas/skinny.h"

using namespace lowrank;

namespace {

constexpr int64_t kRows = 120;
constexpr int64_t kSquare = 1024;
constexpr double kLeastWork = 5e7;

// Processor time of this thread, so that other work on the machine matters less.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

std::vector<float> numbers(int64_t count) {
  std::vector<float> x(static_cast<size_t>(count));
  for (size_t i = 0; i < x.size(); i++) x[i] = static_cast<float>(i % 13) - 6;
  return x;
}

struct Rate {
  double best = 0;
  // Repeat short runs: earlier work has emptied the cache.
  template <class Run> void time(double flops, const Run& run) {
    const int repetitions = std::max(1, static_cast<int>(kLeastWork / flops));
    const double begin = now();
    for (int i = 0; i < repetitions; i++) run();
    best = std::max(best, repetitions * flops / (now() - begin) / 1e9);
  }
};

} // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const int64_t n = std::atoi(arguments[1]);
  const double seconds = std::atof(arguments[2]);
  const std::string kernel = blas::kernel();
  blas::setThreads(1);
  const int64_t stride = spreadStride(n);
  const auto panel = numbers(kRows * stride), block = numbers(n * kSkinny);
  const auto a = numbers(kSquare * kSquare), b = numbers(kSquare * kSquare);
  std::vector<float> image(kRows * kSkinny), sum(static_cast<size_t>(n * kSkinny)), c(kSquare * kSquare);
  const Strided w{panel.data(), stride, 1};
  const double flops = 2.0 * kRows * static_cast<double>(n) * kSkinny;
  Rate product, transposed, sgemm;
  for (const double begin = now(); now() - begin < seconds;) {
    product.time(flops, [&] { skinnyProduct(kRows, n, w, block.data(), image.data(), Update::assign); });
    transposed.time(flops, [&] { skinnyProduct(n, kRows, w.transposed(), image.data(), sum.data(), Update::add); });
    sgemm.time(2.0 * kSquare * kSquare * kSquare, [&] {
      blas::gemm(false, false, kSquare, kSquare, kSquare, 1, a.data(), kSquare, b.data(), kSquare, 0, c.data(),
                 kSquare);
    });
  }
  std::printf("{\"simd\": \"%s\", \"kernel\": \"%s\", \"product\": %.2f, \"transposed\": %.2f, \"sgemm\": %.2f}\n",
              nameOf(simd()), kernel.c_str(), product.best, transposed.best, sgemm.best);
  return 0;
}
