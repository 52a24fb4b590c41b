/* Tables of `patina/synth/image.py`, looked up value by value. */

#ifndef PATINA_ENCODED_H
#define PATINA_ENCODED_H

#include "common.h"

/* The level of linear light, by a table of 65536 for 0..1: `look_up_levels`. */
INLINE uint8_t level_of(float light, const uint8_t *table) {
    return table[(int32_t)between(light * 65535.0f + 0.5f, 0.0f, 65535.0f)];
}

/* A share of 0..1 as 16 bits: `to_uint16`. */
INLINE uint16_t stored_share(float share) {
    return (uint16_t)(int32_t)between(nearest(share * 65535.0f), 0.0f, 65535.0f);
}

#endif
