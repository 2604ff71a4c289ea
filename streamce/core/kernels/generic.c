#if !(defined(__x86_64__) || defined(_M_X64) || defined(__aarch64__) || defined(_M_ARM64))
#define ISA generic
#define TARGET /* the baseline */
#include "body.h"
#else
typedef int not_here;
#endif
