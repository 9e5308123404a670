// Decides who computes when, and with how many threads.
//
// OpenBLAS' thread count is one number for the whole process, so this file alone owns it. Every
// computation holds a Lease of cores. BLAS is single-threaded, and our own threads (Team) call it
// side by side, except inside WideBlas: only the holder of a lease of several cores may open one,
// and such a lease is exclusive. The task alone fixes the number of threads, never the load, so
// results do not depend on what else is computed.
#pragma once

#include "core/threads.h"

namespace lowrank {

// The default number of threads: what OpenBLAS chose from the cores and OPENBLAS_NUM_THREADS.
int defaultThreads();

class Lease {
public:
  // Waits in order of arrival for `threads` cores. BLAS runs single-threaded. A lease of more than
  // one core takes all of them, so that its holder may open a WideBlas.
  explicit Lease(int threads);
  // Waits for as many cores, but leaves the others to others: nobody may open a WideBlas meanwhile.
  static Lease beside(int cores) { return Lease(Slots{cores}); }
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

private:
  struct Slots {
    int count;
  };
  explicit Lease(Slots slots);
  int slots_;
};

// Gives BLAS several threads during its lifetime, for LAPACK's large decompositions. Requires a
// Lease of that many.
class WideBlas {
public:
  explicit WideBlas(int threads);
  // As many as the team has. Throws NeedsWholeTeam where fewer are at work.
  explicit WideBlas(const Team& team);
  ~WideBlas();
  WideBlas(const WideBlas&) = delete;
  WideBlas& operator=(const WideBlas&) = delete;

private:
  int threads_;
};

} // namespace lowrank
