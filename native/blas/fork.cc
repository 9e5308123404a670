// OpenBLAS registers a pthread_atfork handler that ends its threads before every fork, even while
// another thread computes with them; that thread then waits forever. libuv forks for each child
// process and calls exec at once, so no child ever uses the threads and the handler is not needed.
// The linker finds this definition before the C library's. It is hidden, so other libraries are not
// affected.
#if defined(__unix__) || defined(__APPLE__)

extern "C" __attribute__((visibility("hidden"))) int pthread_atfork(void (*)(), void (*)(), void (*)()) { return 0; }

#endif
