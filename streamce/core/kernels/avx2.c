#if defined(__x86_64__) && !defined(_MSC_VER)
#define ISA avx2
#define TARGET __attribute__((target("avx2")))
#include "body.h"
#else
typedef int not_here;
#endif
