// OpenBLAS registers with pthread_atfork a function that ends its threads before every fork: also while another thread
// computes with them, which then waits for ever. libuv forks for each child process and calls exec at once, so there
// is never a child that could use the threads, and nothing has to be done about them. This definition is met by the
// linker before the C library's; it is hidden, so no other library is concerned.
#if defined(__unix__) || defined(__APPLE__)

extern "C" __attribute__((visibility("hidden"))) int pthread_atfork(void (*)(), void (*)(), void (*)()) { return 0; }

#endif
