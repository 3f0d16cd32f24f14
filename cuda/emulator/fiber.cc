// The stack is entered by makecontext once for each body, and afterwards left and resumed by setjmp and longjmp, which,
// unlike swapcontext, need no system call.
#include "fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

namespace gatun::emulator {
namespace {

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
  munmap(stack_, kStackBytes);
}

void Fiber::start(const std::function<void()>* body) {
  body_ = body;
  started_ = false;
  done_ = false;
}

void Fiber::enter(unsigned high, unsigned low) { reinterpret_cast<Fiber*>(uintptr_t{high} << 32 | low)->run(); }

void Fiber::run() {
  after_switch(nullptr, &outside_stack_, &outside_bytes_);
  (*body_)();
  done_ = true;
  before_switch(nullptr, outside_stack_, outside_bytes_);
  _longjmp(outside_, 1);
}

void Fiber::resume() {
  before_switch(&outside_shadow_, stack_, kStackBytes);
  if (_setjmp(outside_) == 0) {
    if (started_) _longjmp(inside_, 1);
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

void Fiber::leave() {
  before_switch(&inside_shadow_, outside_stack_, outside_bytes_);
  if (_setjmp(inside_) == 0) _longjmp(outside_, 1);
  after_switch(inside_shadow_, &outside_stack_, &outside_bytes_);
}

}  // namespace gatun::emulator
