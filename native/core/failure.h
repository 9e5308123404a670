// The exceptions of pure C++: a code of lib/errors.ts and a message. node/outcome.h turns them into
// JavaScript errors.
#pragma once

#include <stdexcept>
#include <string>

namespace lowrank {

struct Failure : std::runtime_error {
  const char* code;
  Failure(const char* code, const std::string& message) : std::runtime_error(message), code(code) {}
};

// Thrown when the caller's AbortSignal has fired; lib/ rejects with the signal's own reason.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("aborted") {}
};

// Thrown by a step that only all threads of a team together can take, where the team has fewer at
// work.
struct NeedsWholeTeam : std::runtime_error {
  NeedsWholeTeam() : std::runtime_error("the step needs all threads of the team") {}
};

} // namespace lowrank
