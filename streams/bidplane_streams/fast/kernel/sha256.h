/* SHA-256 (FIPS 180-4) of two texts put together: the beacon and a bid's id. */
#ifndef BIDPLANE_SHA256_H
#define BIDPLANE_SHA256_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t SHA_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t sha_turn(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha_block_anywhere(uint32_t state[8], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16
             | (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (sha_turn(a, 7) ^ sha_turn(a, 18) ^ a >> 3)
             + (sha_turn(b, 17) ^ sha_turn(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t e = s[4], a = s[0];
        uint32_t one = s[7] + (sha_turn(e, 6) ^ sha_turn(e, 11) ^ sha_turn(e, 25))
                     + ((e & s[5]) ^ (~e & s[6])) + SHA_K[i] + w[i];
        uint32_t two = (sha_turn(a, 2) ^ sha_turn(a, 13) ^ sha_turn(a, 22))
                     + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = e, s[4] = s[3] + one;
        s[3] = s[2], s[2] = s[1], s[1] = a, s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

#if defined(__x86_64__)
/* The processor's own rounds, four at a time: about eight times as fast. */
__attribute__((target("sha,sse4.1")))
static void sha_block_native(uint32_t state[8], const uint8_t *block)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
    for (int i = 0; i < 16; i++) {
        __m128i *now = &w[i & 3], last = w[(i + 3) & 3];
        if (i < 4)
            *now = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block + i), swap);
        else
            *now = _mm_sha256msg2_epu32(
                _mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(i + 1) & 3]),
                              _mm_alignr_epi8(last, w[(i + 2) & 3], 4)), last);
        __m128i sum = _mm_add_epi32(*now, _mm_loadu_si128((const __m128i *)SHA_K + i));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before), cdgh = _mm_add_epi32(cdgh, cdgh_before);
    low = _mm_shuffle_epi32(abef, 0x1b), high = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(low, high, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(high, low, 8));
}

static int sha_is_native(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b & bit_SHA;
}
#else
#define sha_block_native sha_block_anywhere
static int sha_is_native(void) { return 0; }
#endif

/* `digest` gets 32 bytes; `native`: sha_is_native, asked once. */
static void sha256_of_two(const uint8_t *first, int64_t first_length, const uint8_t *second,
                          int64_t second_length, int native, uint8_t *digest)
{
    void (*sha_block)(uint32_t[8], const uint8_t *) = native ? sha_block_native : sha_block_anywhere;
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint8_t block[64];
    int64_t total = first_length + second_length, done = 0;
    int filled = 0;
    while (done < total) {
        const uint8_t *from = done < first_length ? first + done : second + (done - first_length);
        int64_t left = done < first_length ? first_length - done : total - done;
        int taken = left < 64 - filled ? (int)left : 64 - filled;
        memcpy(block + filled, from, (size_t)taken);
        filled += taken, done += taken;
        if (filled == 64) sha_block(state, block), filled = 0;
    }
    block[filled++] = 0x80;
    if (filled > 56) {
        memset(block + filled, 0, (size_t)(64 - filled));
        sha_block(state, block), filled = 0;
    }
    memset(block + filled, 0, (size_t)(56 - filled));
    for (int i = 0; i < 8; i++) block[56 + i] = (uint8_t)((uint64_t)total * 8 >> (56 - 8 * i));
    sha_block(state, block);
    for (int i = 0; i < 32; i++) digest[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

#endif
