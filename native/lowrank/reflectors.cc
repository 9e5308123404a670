#include "lowrank/reflectors.h"

#include <cstring>

namespace lowrank {

Reflectors::Reflectors(const Context& context, int64_t n) : n_(n), offsets_(context.memory, quads(n) + 1) {
  offsets_[0] = 0;
  for (int64_t q = 0; q < quads(n); q++) offsets_[q + 1] = offsets_[q] + steps(n, kTogether * q);
  data_ = Buffer<Quad>(context.memory, offsets_[quads(n)]);
  context.team.tasks(quads(n), [&](int64_t q) {
    std::memset(static_cast<void*>(&at(q, 0)), 0, static_cast<size_t>(stepsOf(q)) * sizeof(Quad));
  });
}

// Column j of T is -tau_j T V' v_j below the diagonal's tau_j (Schreiber and Van Loan 1989).
void Reflectors::join(Team& team) {
  team.tasks(quads(n_), [&](int64_t q) {
    for (int64_t step = 0; step < stepsOf(q); step++) {
      Quad& quad = at(q, step);
      float products[kTogether][kTogether] = {};
      for (const auto& row : quad.v) {
        for (int64_t i = 0; i < kTogether; i++) {
          for (int64_t j = 0; j < kTogether; j++) products[i][j] += row[i] * row[j];
        }
      }
      for (int64_t j = 1; j < kTogether; j++) {
        for (int64_t i = 0; i < j; i++) {
          float sum = 0;
          for (int64_t l = i; l < j; l++) sum += quad.t[i][l] * products[l][j];
          quad.t[i][j] = -sum * quad.t[j][j];
        }
      }
    }
  });
}

int64_t Reflectors::bytes(int64_t n) {
  int64_t count = 0;
  for (int64_t q = 0; q < quads(n); q++) count += steps(n, kTogether * q);
  return count * static_cast<int64_t>(sizeof(Quad)) + (quads(n) + 1) * static_cast<int64_t>(sizeof(int64_t));
}

} // namespace lowrank
