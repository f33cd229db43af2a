// Files and folders that must not outlive the process: removed when the user interrupts it.
#pragma once

#include <filesystem>
#include <mutex>

namespace moecast {

/// From now on SIGINT, SIGTERM and SIGHUP, unless they are ignored, remove what is remembered and
/// then end the process as they would have. Call once, from main, before any other thread starts.
/// Where it was not called, signals keep their meaning.
void RemoveTemporariesOnInterrupt();

/// Names a file, or a folder with everything below it, that is removed on interrupt. Call before it
/// is created. COST: with the first one a thread starts that waits for signals.
void RememberTemporary(const std::filesystem::path& path);
/// The path is in place or gone; does nothing when it was not remembered.
void ForgetTemporary(const std::filesystem::path& path);

/// While held, an interrupt waits, so that several renames happen all or none. REQUIRES: the holder
/// remembers and forgets nothing meanwhile.
[[nodiscard]] std::unique_lock<std::mutex> HoldInterrupts();

}  // namespace moecast
