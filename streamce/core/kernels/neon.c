#if defined(__aarch64__) || defined(_M_ARM64)
#define ISA neon
#define TARGET /* the baseline */
#include "body.h"
#else
typedef int not_here;
#endif
