/* The floating-point control word. A caller may have set flush-to-zero or another rounding mode.
   fp_enter sets the default and returns the caller's word, which fp_leave restores. */
#ifndef STREAMCE_CONTROL_H
#define STREAMCE_CONTROL_H

#if defined(__x86_64__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

#if defined(__x86_64__) || defined(_M_X64)
static inline unsigned long long fp_enter(void)
{
    unsigned saved = _mm_getcsr();
    if (saved != 0x1f80)
        _mm_setcsr(0x1f80);
    return saved;
}

static inline void fp_leave(unsigned long long saved)
{
    if (saved != 0x1f80)
        _mm_setcsr((unsigned)saved);
}
#elif defined(__aarch64__)
static inline unsigned long long fp_enter(void)
{
    unsigned long long saved;
    __asm__ volatile("mrs %0, fpcr" : "=r"(saved));
    if (saved)
        __asm__ volatile("msr fpcr, %0" : : "r"(0ull));
    return saved;
}

static inline void fp_leave(unsigned long long saved)
{
    if (saved)
        __asm__ volatile("msr fpcr, %0" : : "r"(saved));
}
#else
static inline unsigned long long fp_enter(void) { return 0; }
static inline void fp_leave(unsigned long long saved) { (void)saved; }
#endif

#endif
