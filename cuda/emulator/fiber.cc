// The stack is entered by makecontext once for each body, and afterwards left and resumed by the compiler's setjmp and
// longjmp: unlike swapcontext, they need no system call, and unlike the library's, AddressSanitizer does not clear its
// notes of both stacks at each of them, which takes microseconds.
#include "fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

// What jumps leaves no frame that AddressSanitizer would have to clean up.
#define GATUN_JUMPS __attribute__((noinline, no_sanitize("address")))

namespace gatun::emulator {
namespace {

// A function of its own, from whose call the compiler expects the other return of __builtin_setjmp.
[[noreturn]] GATUN_JUMPS void jump(void** to) { __builtin_longjmp(to, 1); }

// AddressSanitizer wants to know of each switch of stacks, before and after it.
void before_switch(void** shadow, const void* bottom, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(shadow, bottom, bytes);
#else
  (void)shadow, (void)bottom, (void)bytes;
#endif
}

void after_switch(void* shadow, const void** bottom, size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(shadow, bottom, bytes);
#else
  (void)shadow, (void)bottom, (void)bytes;
#endif
}

}  // namespace

Fiber::Fiber() {
  void* const memory =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  stack_ = static_cast<unsigned char*>(memory);
#if defined(VALGRIND_STACK_REGISTER)
  valgrind_id_ = VALGRIND_STACK_REGISTER(stack_, stack_ + kStackBytes);
#endif
}

Fiber::~Fiber() {
#if defined(VALGRIND_STACK_DEREGISTER)
  VALGRIND_STACK_DEREGISTER(valgrind_id_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, kStackBytes);  // of frames that a fault has left
#endif
  munmap(stack_, kStackBytes);
}

void Fiber::start(const std::function<void()>* body) {
  body_ = body;
  started_ = false;
  done_ = false;
}

void Fiber::enter(unsigned high, unsigned low) { reinterpret_cast<Fiber*>(uintptr_t{high} << 32 | low)->run(); }

GATUN_JUMPS void Fiber::run() {
  after_switch(nullptr, &outside_stack_, &outside_bytes_);
  (*body_)();
  done_ = true;
  before_switch(nullptr, outside_stack_, outside_bytes_);
  jump(outside_);
}

GATUN_JUMPS void Fiber::resume() {
  before_switch(&outside_shadow_, stack_, kStackBytes);
  if (__builtin_setjmp(outside_) == 0) {
    if (started_) jump(inside_);
    started_ = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = stack_;
    context.uc_stack.ss_size = kStackBytes;
    context.uc_link = nullptr;
    const uintptr_t self = reinterpret_cast<uintptr_t>(this);
    makecontext(&context, reinterpret_cast<void (*)()>(&Fiber::enter), 2, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self));
    setcontext(&context);
  }
  after_switch(outside_shadow_, nullptr, nullptr);
}

GATUN_JUMPS void Fiber::leave() {
  before_switch(&inside_shadow_, outside_stack_, outside_bytes_);
  if (__builtin_setjmp(inside_) == 0) jump(outside_);
  after_switch(inside_shadow_, &outside_stack_, &outside_bytes_);
}

}  // namespace gatun::emulator
