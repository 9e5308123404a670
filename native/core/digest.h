// A digest of numbers that nobody can aim at: BLAKE3 (O'Connor, Aumasson, Neves and Wilcox-O'Hearn 2020). Random starts
// are drawn from it, so that a matrix cannot be made to be orthogonal to its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/memory.h"
#include "core/threads.h"

namespace lowrank {

using Digest = std::array<uint32_t, 8>;

// The same for any number of threads and any vector instructions.
Digest blake3(const void* data, size_t bytes, MemoryLedger& memory, Team& team);

// Native bytes that it takes meanwhile.
int64_t blake3Bytes(int64_t bytes);

} // namespace lowrank
