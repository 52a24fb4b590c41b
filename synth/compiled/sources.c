/* What this library was compiled from: `library.py` compares it with the files that lie beside it. */

#include "common.h"

const char *patina_sources(void) {
    return PATINA_SOURCES;
}

/* Six operations on each of n numbers: hatch_build.py knows what they give where each is rounded on its own. */
CLONED void patina_operations(const float *a, const float *b, const float *c, ptrdiff_t n, float *out) {
    float sum = 0.0f;
    for (ptrdiff_t i = 0; i < n; i++) {
        out[6 * i] = a[i] * b[i] + c[i];
        out[6 * i + 1] = a[i] / c[i];
        out[6 * i + 2] = a[i] / 255.0f;
        out[6 * i + 3] = nearest(a[i]);
        out[6 * i + 4] = a[i] * 0x1p-140f;
    }
    for (ptrdiff_t i = 0; i < n; i++) {
        sum += a[i];
        out[6 * i + 5] = sum;
    }
}
