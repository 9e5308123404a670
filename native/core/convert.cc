#include "core/convert.h"

#include <cstring>

namespace lowrank {
namespace {

template <class To, class From> To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// Both directions work on integers without branches, so that they vectorise on every processor.

float fromHalf(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fff) << 13;
  // Multiplying by 2^112 moves the exponent's bias from 15 to 127 and is exact for subnormal halves
  // too.
  const float scaled = bits<float>(magnitude) * bits<float>(uint32_t{(127 + 112) << 23});
  const uint32_t infinite = (h & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
  return bits<float>(bits<uint32_t>(scaled) | infinite | sign);
}

uint16_t toHalf(float f) {
  const uint32_t u = bits<uint32_t>(f);
  const uint32_t sign = (u >> 16) & 0x8000;
  const uint32_t magnitude = u & 0x7fffffff;
  // Normal halves: rebias the exponent and round the 13 lost bits to nearest, ties to even; a carry
  // into the exponent is right, up to infinity.
  const uint32_t normal = (magnitude - ((127 - 15) << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
  // Subnormal halves: adding 0.5 aligns the last bit kept with float32's last bit, so the addition
  // itself rounds.
  const uint32_t subnormal = bits<uint32_t>(bits<float>(magnitude) + 0.5f) - bits<uint32_t>(0.5f);
  const uint32_t nan = 0x7e00 | ((magnitude >> 13) & 0x3ff);
  uint32_t h = magnitude < (113u << 23) ? subnormal : normal;
  h = magnitude >= 0x477ff000 ? 0x7c00 : h; // 65520 and above round to infinity
  h = magnitude > 0x7f800000 ? nan : h;
  return static_cast<uint16_t>(h | sign);
}

float fromBrain(uint16_t b) { return bits<float>(static_cast<uint32_t>(b) << 16); }

uint16_t toBrain(float f) {
  const uint32_t u = bits<uint32_t>(f);
  const uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  const uint32_t nan = (u >> 16) | 0x40; // rounding could carry a NaN into infinity
  return static_cast<uint16_t>((u & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

template <class Element, class Convert>
void each(const uint8_t* source, float* target, int64_t count, Convert convert) {
  for (int64_t i = 0; i < count; i++) {
    Element element;
    std::memcpy(&element, source + i * static_cast<int64_t>(sizeof element), sizeof element);
    target[i] = convert(element);
  }
}

template <class Element, class Convert>
void each(const float* source, uint8_t* target, int64_t count, Convert convert) {
  for (int64_t i = 0; i < count; i++) {
    const Element element = convert(source[i]);
    std::memcpy(target + i * static_cast<int64_t>(sizeof element), &element, sizeof element);
  }
}

} // namespace

int64_t bytesPerElement(FloatFormat format) {
  switch (format) {
  case FloatFormat::f64:
    return 8;
  case FloatFormat::f32:
    return 4;
  default:
    return 2;
  }
}

void toFloat32(FloatFormat from, const uint8_t* source, float* target, int64_t count) {
  if (count == 0) return; // an empty array has no address, which memcpy requires
  switch (from) {
  case FloatFormat::f64:
    return each<double>(source, target, count, [](double d) { return static_cast<float>(d); });
  case FloatFormat::f32:
    std::memmove(target, source, static_cast<size_t>(count) * sizeof(float)); // the arrays may overlap
    return;
  case FloatFormat::f16:
    return each<uint16_t>(source, target, count, fromHalf);
  case FloatFormat::bf16:
    return each<uint16_t>(source, target, count, fromBrain);
  }
}

void fromFloat32(FloatFormat to, const float* source, uint8_t* target, int64_t count) {
  if (count == 0) return;
  switch (to) {
  case FloatFormat::f64:
    return each<double>(source, target, count, [](float f) { return static_cast<double>(f); });
  case FloatFormat::f32:
    std::memmove(target, source, static_cast<size_t>(count) * sizeof(float)); // the arrays may overlap
    return;
  case FloatFormat::f16:
    return each<uint16_t>(source, target, count, toHalf);
  case FloatFormat::bf16:
    return each<uint16_t>(source, target, count, toBrain);
  }
}

} // namespace lowrank
