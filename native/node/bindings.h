// Shared by the bindings_*.cc. Each of them ends with the list of its exports, the only place that
// names them. lib/addon/contract.ts defines every field; test/unit/addon/contract.test.ts compares
// names and codes.
#pragma once

#include <napi.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "blas/lease.h"
#include "lowrank/test_hooks.h"
#include "lowrank/weighted.h"
#include "node/arguments.h"
#include "node/task.h"

namespace lowrank {

struct Export {
  const char* name;
  Napi::Value (*function)(const Napi::CallbackInfo&);
};

std::span<const Export> processExports();
std::span<const Export> linalgExports();
std::span<const Export> lowRankExports();
std::span<const Export> quantizeExports();
std::span<const Export> trainExports();

// The numbers of a certificate, in the order in which `approximate` writes them.
std::vector<const char*> certificateFields();

inline int readThreads(const Arguments& arguments) {
  constexpr int64_t kMost = 1024; // OpenBLAS itself stops far below
  const int64_t count = arguments.has("threads") ? arguments.size("threads") : 0;
  return count == 0 ? defaultThreads() : static_cast<int>(std::min(count, kMost));
}

// Reads the cores that a matrix takes while others are computed beside it; 0 for all.
inline int readCores(const Arguments& arguments) {
  constexpr int64_t kMost = 1024;
  return arguments.has("alongside") ? static_cast<int>(std::min(arguments.size("alongside"), kMost)) : 0;
}

// Reads the number of rows or columns of matrices to decompose. Rejects 0 and sizes from which
// computed ones overflow.
inline int64_t readSide(const Arguments& arguments, const char* name, int64_t other = 1) {
  constexpr int64_t kMostElements = int64_t{1} << 48;
  const int64_t side = arguments.size(name);
  if (side == 0) throw Failure("ERR_SHAPE", std::string(name) + " is 0");
  if (product(side, other) > kMostElements) throw Failure("ERR_MEMORY", "a matrix of this size cannot be addressed");
  return side;
}

inline TestHooks readTestHooks(const Arguments& arguments) {
  TestHooks hooks;
  if (const auto given = arguments.object("testHooks")) {
    hooks.pretendGesddFails = given->flag("pretendGesddFails");
    hooks.twoStages = given->flag("twoStages");
    if (given->has("maxDimension")) hooks.maxDimension = given->size("maxDimension");
  }
  return hooks;
}

inline std::optional<Moments::Kind> readMomentsKind(const Arguments& arguments) {
  if (!arguments.has("momentsKind")) return std::nullopt;
  const int64_t kind = arguments.size("momentsKind");
  if (kind >= static_cast<int64_t>(std::size(kMomentsNames))) throw Failure("ERR_ARGUMENT", "momentsKind is unknown");
  return static_cast<Moments::Kind>(kind);
}

// Reads the second moments by which the error of an m x n matrix is weighted; returns nothing if
// there are none.
inline std::optional<Moments> readMoments(Arguments& arguments, int64_t m, int64_t n) {
  if (!arguments.has("moments")) return std::nullopt;
  const auto kind = readMomentsKind(arguments);
  if (!kind) throw Failure("ERR_ARGUMENT", "momentsKind is missing");
  const int64_t count = *kind == Moments::outputs ? product(m, m) : *kind == Moments::inputs ? product(n, n) : n;
  return Moments{*kind, arguments.doubles("moments", count)};
}

// Returns base + elements, or null if the array is absent.
template <class T> T* offset(T* base, int64_t elements) { return base ? base + elements : nullptr; }

} // namespace lowrank
