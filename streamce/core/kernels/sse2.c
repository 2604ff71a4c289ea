#if defined(__x86_64__) || defined(_M_X64)
#define ISA sse2
#define TARGET /* the baseline */
#include "body.h"
#else
typedef int not_here;
#endif
