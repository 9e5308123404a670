/* Measures OpenBLAS' own sgemm alone, for bench/run.mjs: gemm <m> <n> <k> <file>, where the file holds both
   operands. Speaks the protocol of contenders/serve.mjs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

void sgemm_(const char *, const char *, const int *, const int *, const int *, const float *, const float *, const int *,
            const float *, const int *, const float *, float *, const int *);
char *openblas_get_config(void);
char *openblas_get_corename(void);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Returns the peak of this program in bytes. getrusage would include what the parent held before exec. */
static double peakRss(void) {
  FILE *status = fopen("/proc/self/status", "r");
  if (status) {
    char line[256];
    double kib = 0;
    while (fgets(line, sizeof line, status)) sscanf(line, "VmHWM: %lf", &kib);
    fclose(status);
    return kib * 1024;
  }
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (double)usage.ru_maxrss;
}

static float *readNumbers(FILE *file, size_t count) {
  float *numbers = malloc(count * sizeof *numbers);
  if (!numbers || fread(numbers, sizeof *numbers, count, file) != count) {
    puts("{\"error\": \"the input cannot be read\"}");
    exit(1);
  }
  return numbers;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const int m = atoi(argv[1]), n = atoi(argv[2]), k = atoi(argv[3]);
  FILE *file = fopen(argv[4], "rb");
  if (!file) return 1;
  float *a = readNumbers(file, (size_t)m * k);
  float *b = readNumbers(file, (size_t)k * n);
  float *c = calloc((size_t)m * n, sizeof *c);
  fclose(file);
  if (!c) return 1;
  printf("{\"versions\": {\"OpenBLAS\": \"%s, kernel %s\"}, \"baseRss\": %.0f}\n", openblas_get_config(),
         openblas_get_corename(), peakRss());
  fflush(stdout);

  char line[4096];
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, "run ", 4) == 0) {
      const double least = atof(line + 4), begin = now();
      const float one = 1, zero = 0;
      long calls = 0;
      double elapsed;
      do {
        /* Row-major C = A B is column-major C^T = B^T A^T. */
        sgemm_("N", "N", &n, &m, &k, &one, b, &n, a, &k, &zero, c, &n);
        calls++;
        elapsed = now() - begin;
      } while (elapsed < least);
      printf("{\"seconds\": %.9g, \"calls\": %ld, \"peakRss\": %.0f}\n", elapsed / calls, calls, peakRss());
    } else if (strncmp(line, "write ", 6) == 0) {
      FILE *out = fopen(line + 6, "wb");
      int done = out && fwrite(c, sizeof *c, (size_t)m * n, out) == (size_t)m * n;
      if (out && fclose(out) != 0) done = 0;
      puts(done ? "{}" : "{\"error\": \"the result cannot be written\"}");
    }
    fflush(stdout);
  }
  return 0;
}
