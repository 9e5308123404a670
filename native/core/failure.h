// What pure C++ throws: a code of lib/errors.ts and a sentence. The binding turns it into a JavaScript error.
#pragma once

#include <stdexcept>
#include <string>

namespace lowrank {

struct Failure : std::runtime_error {
  const char* code;
  Failure(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
};

// The caller's AbortSignal fired; lib/ rejects with the signal's own reason.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("aborted") {}
};

} // namespace lowrank
