#include "core/digest.h"

#include <algorithm>
#include <cstring>

#include "core/simd.h"

namespace lowrank {
namespace {

constexpr uint32_t kInitial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
constexpr int kOrder[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1}, {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4}, {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13}};
constexpr uint32_t kStart = 1, kEnd = 2, kParent = 4, kRoot = 8;
constexpr int64_t kWords = 16;                   // of a block
constexpr int64_t kBlocks = 16;                  // of a chunk
constexpr int64_t kValue = 8;                    // words of a chaining value
constexpr int64_t kChunk = 4 * kWords * kBlocks; // bytes

// A word of each of several inputs, side by side in a register.
template <int Bytes> struct Lanes {
  typedef uint32_t type __attribute__((vector_size(Bytes)));
  static constexpr int count = Bytes / 4;
};
template <> struct Lanes<4> {
  typedef uint32_t type;
  static constexpr int count = 1;
};

template <int By, class Word> inline __attribute__((always_inline)) void xorRotate(Word& x, const Word& y) {
  x ^= y;
  x = (x >> By) | (x << (32 - By));
}

template <class Word>
inline __attribute__((always_inline)) void mix(Word& a, Word& b, Word& c, Word& d, const Word& x, const Word& y) {
  a += b + x;
  xorRotate<16>(d, a);
  c += d;
  xorRotate<12>(b, c);
  a += b + y;
  xorRotate<8>(d, a);
  c += d;
  xorRotate<7>(b, c);
}

// value <- the chaining value after `block`. `counter` is that of the first lane; `step` is added
// from lane to lane.
template <int Bytes>
inline __attribute__((always_inline)) void compress(typename Lanes<Bytes>::type* value,
                                                    const typename Lanes<Bytes>::type* block, uint64_t counter,
                                                    uint64_t step, uint32_t length, uint32_t flags) {
  using Word = typename Lanes<Bytes>::type;
  constexpr int kCount = Lanes<Bytes>::count;
  uint32_t start[8][kCount];
  for (int lane = 0; lane < kCount; lane++) {
    const uint64_t number = counter + step * static_cast<uint64_t>(lane);
    for (int i = 0; i < 4; i++) start[i][lane] = kInitial[i];
    start[4][lane] = static_cast<uint32_t>(number);
    start[5][lane] = static_cast<uint32_t>(number >> 32);
    start[6][lane] = length;
    start[7][lane] = flags;
  }
  Word v[16];
  std::memcpy(v, value, sizeof v / 2);
  std::memcpy(v + 8, start, sizeof v / 2);
#pragma GCC unroll 7
  for (int round = 0; round < 7; round++) {
    const int* m = kOrder[round];
    mix(v[0], v[4], v[8], v[12], block[m[0]], block[m[1]]);
    mix(v[1], v[5], v[9], v[13], block[m[2]], block[m[3]]);
    mix(v[2], v[6], v[10], v[14], block[m[4]], block[m[5]]);
    mix(v[3], v[7], v[11], v[15], block[m[6]], block[m[7]]);
    mix(v[0], v[5], v[10], v[15], block[m[8]], block[m[9]]);
    mix(v[1], v[6], v[11], v[12], block[m[10]], block[m[11]]);
    mix(v[2], v[7], v[8], v[13], block[m[12]], block[m[13]]);
    mix(v[3], v[4], v[9], v[14], block[m[14]], block[m[15]]);
  }
  for (int i = 0; i < 8; i++) value[i] = v[i] ^ v[i + 8];
}

// Loads word i of every lane's block; blocks lie `stride` bytes apart.
template <int Bytes>
inline __attribute__((always_inline)) void load(const uint8_t* data, int64_t stride,
                                                typename Lanes<Bytes>::type* block) {
  constexpr int kCount = Lanes<Bytes>::count;
  uint32_t words[kWords][kCount];
  for (int lane = 0; lane < kCount; lane++) {
    for (int i = 0; i < kWords; i++) std::memcpy(&words[i][lane], data + lane * stride + 4 * i, 4);
  }
  std::memcpy(block, words, sizeof words);
}

template <int Bytes> inline __attribute__((always_inline)) void start(typename Lanes<Bytes>::type* value) {
  constexpr int kCount = Lanes<Bytes>::count;
  uint32_t words[kValue][kCount];
  for (int i = 0; i < kValue; i++) std::fill_n(words[i], kCount, kInitial[i]);
  std::memcpy(value, words, sizeof words);
}

template <int Bytes>
inline __attribute__((always_inline)) void store(const typename Lanes<Bytes>::type* value, uint32_t* to) {
  constexpr int kCount = Lanes<Bytes>::count;
  uint32_t words[kValue][kCount];
  std::memcpy(words, value, sizeof words);
  for (int lane = 0; lane < kCount; lane++) {
    for (int i = 0; i < kValue; i++) to[lane * kValue + i] = words[i][lane];
  }
}

// Computes the chaining values of whole chunks from [begin, end) as long as they fill all lanes.
// Returns the first chunk that is left.
template <int Bytes>
inline __attribute__((always_inline)) int64_t wholeChunks(const uint8_t* data, int64_t begin, int64_t end,
                                                          uint32_t* values) {
  using Word = typename Lanes<Bytes>::type;
  constexpr int64_t kCount = Lanes<Bytes>::count;
  for (; begin + kCount <= end; begin += kCount) {
    Word value[8], block[kWords];
    start<Bytes>(value);
    for (int64_t i = 0; i < kBlocks; i++) {
      load<Bytes>(data + begin * kChunk + 4 * kWords * i, kChunk, block);
      const uint32_t flags = (i == 0 ? kStart : 0) | (i == kBlocks - 1 ? kEnd : 0);
      compress<Bytes>(value, block, static_cast<uint64_t>(begin), 1, 4 * kWords, flags);
    }
    store<Bytes>(value, values + begin * kValue);
  }
  return begin;
}

// Computes the parents of pairs [begin, end) of `children`. Returns as above.
template <int Bytes>
inline __attribute__((always_inline)) int64_t parents(const uint32_t* children, int64_t begin, int64_t end,
                                                      uint32_t* values, uint32_t flags) {
  using Word = typename Lanes<Bytes>::type;
  constexpr int64_t kCount = Lanes<Bytes>::count;
  for (; begin + kCount <= end; begin += kCount) {
    Word value[8], block[kWords];
    start<Bytes>(value);
    load<Bytes>(reinterpret_cast<const uint8_t*>(children + begin * kWords), 4 * kWords, block);
    compress<Bytes>(value, block, 0, 0, 4 * kWords, kParent | flags);
    store<Bytes>(value, values + begin * kValue);
  }
  return begin;
}

template <int Bytes>
inline __attribute__((always_inline)) void chunksBy(const uint8_t* data, int64_t begin, int64_t end, uint32_t* values) {
  wholeChunks<4>(data, wholeChunks<Bytes>(data, begin, end, values), end, values);
}
template <int Bytes>
inline __attribute__((always_inline)) void parentsBy(const uint32_t* children, int64_t begin, int64_t end,
                                                     uint32_t* values) {
  parents<4>(children, parents<Bytes>(children, begin, end, values, 0), end, values, 0);
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void chunksAvx512(const uint8_t* data, int64_t begin, int64_t end, uint32_t* to) {
  chunksBy<64>(data, begin, end, to);
}
__attribute__((target("avx512f"))) void parentsAvx512(const uint32_t* from, int64_t begin, int64_t end, uint32_t* to) {
  parentsBy<64>(from, begin, end, to);
}
__attribute__((target("avx2"))) void chunksAvx2(const uint8_t* data, int64_t begin, int64_t end, uint32_t* to) {
  chunksBy<32>(data, begin, end, to);
}
__attribute__((target("avx2"))) void parentsAvx2(const uint32_t* from, int64_t begin, int64_t end, uint32_t* to) {
  parentsBy<32>(from, begin, end, to);
}
#endif
void chunksNarrow(const uint8_t* data, int64_t begin, int64_t end, uint32_t* to) { chunksBy<16>(data, begin, end, to); }
void parentsNarrow(const uint32_t* from, int64_t begin, int64_t end, uint32_t* to) {
  parentsBy<16>(from, begin, end, to);
}

struct Kernels {
  void (*chunks)(const uint8_t*, int64_t, int64_t, uint32_t*);
  void (*parents)(const uint32_t*, int64_t, int64_t, uint32_t*);
};

Kernels kernels() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return {chunksAvx512, parentsAvx512};
  if (simd() == Simd::avx2) return {chunksAvx2, parentsAvx2};
#endif
  return {chunksNarrow, parentsNarrow};
}

// Hashes the last or only chunk, which may be shorter.
void lastChunk(const uint8_t* data, int64_t bytes, uint64_t counter, bool only, uint32_t* value) {
  std::copy_n(kInitial, kValue, value);
  uint32_t flags = kStart;
  do {
    const int64_t length = std::min<int64_t>(bytes, 4 * kWords);
    uint32_t block[kWords] = {};
    if (length > 0) std::memcpy(block, data, static_cast<size_t>(length));
    data += length;
    bytes -= length;
    if (bytes == 0) flags |= kEnd | (only ? kRoot : 0);
    compress<4>(value, block, counter, 0, static_cast<uint32_t>(length), flags);
    flags = 0;
  } while (bytes > 0);
}

int64_t chunkCount(int64_t bytes) { return std::max<int64_t>(1, (bytes + kChunk - 1) / kChunk); }

} // namespace

Digest blake3(const void* data, size_t size, MemoryLedger& memory, Team& team) {
  const Kernels k = kernels();
  const auto* bytes = static_cast<const uint8_t*>(data);
  const auto length = static_cast<int64_t>(size);
  int64_t count = chunkCount(length);
  Buffer<uint32_t> values(memory, count * kValue), next(memory, (count + 1) / 2 * kValue);
  constexpr int64_t kGrain = 16; // the lanes of the widest register
  team.ranges(count - 1, kGrain, [&](int64_t begin, int64_t end) { k.chunks(bytes, begin, end, values.data()); });
  lastChunk(bytes + (count - 1) * kChunk, length - (count - 1) * kChunk, static_cast<uint64_t>(count - 1), count == 1,
            values.data() + (count - 1) * kValue);
  // Merge pairs of neighbours, level by level; an odd one out moves up unchanged.
  for (; count > 1; count = (count + 1) / 2) {
    const int64_t pairs = count / 2;
    if (count == 2) {
      parents<4>(values.data(), 0, 1, next.data(), kRoot);
    } else {
      team.ranges(pairs, kGrain,
                  [&](int64_t begin, int64_t end) { k.parents(values.data(), begin, end, next.data()); });
    }
    if (count % 2) std::copy_n(values.data() + (count - 1) * kValue, kValue, next.data() + pairs * kValue);
    std::swap(values, next);
  }
  Digest digest;
  std::copy_n(values.data(), kValue, digest.begin());
  return digest;
}

int64_t blake3Bytes(int64_t bytes) {
  const int64_t count = chunkCount(bytes);
  return 4 * kValue * (count + (count + 1) / 2);
}

} // namespace lowrank
