/* Chooses the instruction set. It asks the processor with cpuid and xgetbv, because the helpers of
   compilers are wrong on some systems. */
#include "kernels.h"

#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)
#define X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
extern const kernel_table kernels_sse2;
#if !defined(_MSC_VER)
extern const kernel_table kernels_avx2, kernels_avx512;
#endif
#elif defined(__aarch64__) || defined(_M_ARM64)
extern const kernel_table kernels_neon;
#else
extern const kernel_table kernels_generic;
#endif

#if defined(X86) && !defined(_MSC_VER)
static unsigned long long enabled_state(void)
{
    unsigned a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return ((unsigned long long)d << 32) | a;
}

/* 0: SSE2, 1: AVX2, 2: AVX-512 (F, DQ, BW, VL). */
static int level(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27)) || !(c & (1u << 28)))
        return 0;
    unsigned long long state = enabled_state();
    if ((state & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & (1u << 5)))
        return 0;
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    return (state & 0xe6) == 0xe6 && (b & avx512) == avx512 ? 2 : 1;
}
#endif

static const kernel_table *table(int i)
{
#if defined(X86) && !defined(_MSC_VER)
    static const kernel_table *const all[] = {&kernels_sse2, &kernels_avx2, &kernels_avx512};
    return i <= level() ? all[i] : NULL;
#elif defined(X86)
    return i == 0 ? &kernels_sse2 : NULL;
#elif defined(__aarch64__) || defined(_M_ARM64)
    return i == 0 ? &kernels_neon : NULL;
#else
    return i == 0 ? &kernels_generic : NULL;
#endif
}

const kernel_table *kernels;

const char *kernels_supported(int i)
{
    const kernel_table *supported = i >= 0 && i < 3 ? table(i) : NULL;
    return supported ? supported->name : NULL;
}

int kernels_use(const char *name)
{
    const kernel_table *chosen = NULL;
    for (int i = 0; i < 3 && table(i); i++)
        if (!name || strcmp(name, table(i)->name) == 0)
            chosen = table(i);
    if (!chosen)
        return -1;
    kernels = chosen;
    return 0;
}
