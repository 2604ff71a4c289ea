#if defined(__x86_64__) && !defined(_MSC_VER)
#define ISA avx512
#if defined(__clang__)
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl"), min_vector_width(512)))
#else
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,prefer-vector-width=512")))
#endif
#include "body.h"
#else
typedef int not_here;
#endif
