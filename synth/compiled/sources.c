/* What this library was compiled from: `library.py` compares it with the files that lie beside it. */

#include "common.h"

const char *patina_sources(void) {
    return PATINA_SOURCES;
}
