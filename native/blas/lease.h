// Who computes when, and with how many threads.
//
// OpenBLAS' thread count is one number for the whole process, so one place owns it. Every computation holds a Lease of
// cores; BLAS is single-threaded and our own threads (Team) call it side by side, except inside WideBlas, which only a
// lease of several cores may open, and it is alone. The width is the task's own, never a question of load, so results
// do not depend on who else computes.
#pragma once

namespace lowrank {

// Threads to use unless told otherwise: what OpenBLAS chose from the cores and OPENBLAS_NUM_THREADS.
int defaultThreads();

class Lease {
public:
  // Waits in order of arrival for `threads` cores. BLAS runs single-threaded; all cores together are held alone, so
  // that a WideBlas may be opened.
  explicit Lease(int threads);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

private:
  int slots_;
};

// Several BLAS threads, for LAPACK's large decompositions, while it lives. Only under a Lease of that many threads.
class WideBlas {
public:
  explicit WideBlas(int threads);
  ~WideBlas();
  WideBlas(const WideBlas&) = delete;
  WideBlas& operator=(const WideBlas&) = delete;

private:
  int threads_;
};

} // namespace lowrank
