// AES in counter mode and GHASH for AES-GCM (NIST SP 800-38D), eight blocks at a time. Intel syntax, System V ABI.
// Uses rax, rcx, rdx, rsi, rdi, r8 to r11 and xmm0 to xmm15; calls nothing; touches no stack; takes the same time for
// all keys and data.
//
// GHASH works on bit-reflected numbers. With the bytes of a block reversed, PCLMULQDQ multiplies them as they are, but
// for a factor of x, which is taken out of the hash key once, in `init` (Gueron and Kounavis, "Intel Carry-Less
// Multiplication Instruction and its Usage for Computing the GCM Mode", 2014). Eight products are summed before one
// reduction (ibid., "aggregated reduction"); each takes three multiplications (Karatsuba).
//
// Offsets in `Key`: round keys at 0, number of rounds at 240, powers at 256 (8th to 1st), halves at 384.
// Offsets in `State`: counter at 0, hash at 16; both with bytes reversed.
//
// Registers: rdi key, rsi state, rdx from, rcx to, r8 blocks left, r9 blocks to hash, r10 last round key, r11 rounds;
// xmm0-7 blocks, xmm8-10 low, middle and high sums, xmm11-12 scratch, xmm13 hash, xmm14 counter, xmm15 polynomial.

.pushsection .rodata.unikernel_aes_gcm, "a", @progbits
.balign 16
.Lgcm_reverse:      .byte 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0
.Lgcm_one:          .quad 1, 0
// x^128 + x^127 + x^126 + x^121 + 1, reflected, without its lowest term.
.Lgcm_polynomial:   .quad 1, 0xc200000000000000
// The same, and what shifting both halves of a number separately leaves out.
.Lgcm_carries:      .quad 1, 0xc200000000000001
.popsection

// --- GHASH ---

// Multiplies xmm11 with power \i into the sums; the first product makes the sums.
.macro GCM_MULTIPLY i
    vpshufd xmm12, xmm11, 0x4e
    vpxor xmm12, xmm12, xmm11
.if \i == 0
    vpclmulqdq xmm9, xmm12, [rdi + 384], 0x00
    vpclmulqdq xmm8, xmm11, [rdi + 256], 0x00
    vpclmulqdq xmm10, xmm11, [rdi + 256], 0x11
.else
    vpclmulqdq xmm12, xmm12, [rdi + 384 + 16 * (\i / 2)], 0x10 * (\i % 2)
    vpxor xmm9, xmm9, xmm12
    vpclmulqdq xmm12, xmm11, [rdi + 256 + 16 * \i], 0x00
    vpxor xmm8, xmm8, xmm12
    vpclmulqdq xmm12, xmm11, [rdi + 256 + 16 * \i], 0x11
    vpxor xmm10, xmm10, xmm12
.endif
.endm

// Block \i of the eight at r9.
.macro GCM_HASH i
    vmovdqu xmm11, [r9 + 16 * \i]
    vpshufb xmm11, xmm11, [rip + .Lgcm_reverse]
.if \i == 0
    vpxor xmm11, xmm11, xmm13
.endif
    GCM_MULTIPLY \i
.endm

// The middle sum from Karatsuba's, then 256 bits to 128: twice 64 bits are folded upwards.
.macro GCM_REDUCE
    vpxor xmm9, xmm9, xmm8
    vpxor xmm9, xmm9, xmm10
    vpclmulqdq xmm11, xmm15, xmm8, 0x01
    vpshufd xmm8, xmm8, 0x4e
    vpxor xmm9, xmm9, xmm11
    vpxor xmm9, xmm9, xmm8
    vpclmulqdq xmm11, xmm15, xmm9, 0x01
    vpshufd xmm9, xmm9, 0x4e
    vpxor xmm10, xmm10, xmm11
    vpxor xmm13, xmm10, xmm9
.endm

.macro GCM_HASH8
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    GCM_HASH \i
    .endr
    GCM_REDUCE
.endm

// xmm13 = (xmm13 + xmm11) * first power; xmm11 has its bytes reversed already.
.macro GCM_HASH1
    vpxor xmm11, xmm11, xmm13
    vpshufd xmm12, xmm11, 0x4e
    vpxor xmm12, xmm12, xmm11
    vpclmulqdq xmm9, xmm12, [rdi + 384 + 48], 0x10
    vpclmulqdq xmm8, xmm11, [rdi + 256 + 112], 0x00
    vpclmulqdq xmm10, xmm11, [rdi + 256 + 112], 0x11
    GCM_REDUCE
.endm

// --- AES ---

.macro GCM_COUNTERS
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vpshufb xmm\i, xmm14, [rip + .Lgcm_reverse]
    vpaddd xmm14, xmm14, [rip + .Lgcm_one]
    vpxor xmm\i, xmm\i, [rdi]
    .endr
.endm

.macro GCM_ROUND8 round
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vaesenc xmm\i, xmm\i, [rdi + 16 * \round]
    .endr
.endm

// Rounds 10 to 13 where there are 14.
.macro GCM_LONG_KEY8
    cmp r11, 10
    je 77f
    .irp round, 10, 11, 12, 13
    GCM_ROUND8 \round
    .endr
77:
.endm

// The last round with the data added to its key.
.macro GCM_LAST8
    vmovdqa xmm11, [r10]
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vpxor xmm12, xmm11, [rdx + 16 * \i]
    vaesenclast xmm\i, xmm\i, xmm12
    .endr
    .irp i, 0, 1, 2, 3, 4, 5, 6, 7
    vmovdqu [rcx + 16 * \i], xmm\i
    .endr
.endm

// Eight blocks, and on the way the hash of the eight at r9: the CPU does both at once.
.macro GCM_CRYPT_AND_HASH8
    GCM_COUNTERS
    GCM_ROUND8 1
    GCM_HASH 0
    GCM_ROUND8 2
    GCM_HASH 1
    GCM_ROUND8 3
    GCM_HASH 2
    GCM_ROUND8 4
    GCM_HASH 3
    GCM_ROUND8 5
    GCM_HASH 4
    GCM_ROUND8 6
    GCM_HASH 5
    GCM_ROUND8 7
    GCM_HASH 6
    GCM_ROUND8 8
    GCM_HASH 7
    GCM_ROUND8 9
    GCM_REDUCE
    GCM_LONG_KEY8
    GCM_LAST8
.endm

.macro GCM_ROUNDS1
    vpxor xmm0, xmm0, [rdi]
    .irp round, 1, 2, 3, 4, 5, 6, 7, 8, 9
    vaesenc xmm0, xmm0, [rdi + 16 * \round]
    .endr
    cmp r11, 10
    je 78f
    .irp round, 10, 11, 12, 13
    vaesenc xmm0, xmm0, [rdi + 16 * \round]
    .endr
78:
.endm

.macro GCM_BEGIN
    mov r11, [rdi + 240]
    mov r10, r11
    shl r10, 4
    add r10, rdi
    vmovdqa xmm14, [rsi]
    vmovdqa xmm13, [rsi + 16]
    vmovdqa xmm15, [rip + .Lgcm_polynomial]
.endm

.macro GCM_END
    vmovdqa [rsi], xmm14
    vmovdqa [rsi + 16], xmm13
    ret
.endm

.macro GCM_ADVANCE8
    add rdx, 128
    add rcx, 128
    sub r8, 8
.endm

.pushsection .text.unikernel_aes_gcm, "ax", @progbits

// fn(key, state, from, to, blocks): encrypts, and hashes what comes out.
.balign 64
.global unikernel_aes_gcm_encrypt
unikernel_aes_gcm_encrypt:
    GCM_BEGIN
    cmp r8, 8
    jb 3f
    GCM_COUNTERS
    .irp round, 1, 2, 3, 4, 5, 6, 7, 8, 9
    GCM_ROUND8 \round
    .endr
    GCM_LONG_KEY8
    GCM_LAST8
    mov r9, rcx
    GCM_ADVANCE8
    cmp r8, 8
    jb 2f
.balign 32
1:  GCM_CRYPT_AND_HASH8
    mov r9, rcx
    GCM_ADVANCE8
    cmp r8, 8
    jae 1b
2:  GCM_HASH8
3:  test r8, r8
    jz 5f
4:  vpshufb xmm0, xmm14, [rip + .Lgcm_reverse]
    vpaddd xmm14, xmm14, [rip + .Lgcm_one]
    GCM_ROUNDS1
    vmovdqa xmm12, [r10]
    vpxor xmm12, xmm12, [rdx]
    vaesenclast xmm0, xmm0, xmm12
    vmovdqu [rcx], xmm0
    vpshufb xmm11, xmm0, [rip + .Lgcm_reverse]
    GCM_HASH1
    add rdx, 16
    add rcx, 16
    dec r8
    jnz 4b
5:  GCM_END

// fn(key, state, from, to, blocks): hashes what comes in, and decrypts it.
.balign 64
.global unikernel_aes_gcm_decrypt
unikernel_aes_gcm_decrypt:
    GCM_BEGIN
    cmp r8, 8
    jb 2f
.balign 32
1:  mov r9, rdx
    GCM_CRYPT_AND_HASH8
    GCM_ADVANCE8
    cmp r8, 8
    jae 1b
2:  test r8, r8
    jz 4f
3:  vmovdqu xmm1, [rdx]
    vpshufb xmm11, xmm1, [rip + .Lgcm_reverse]
    GCM_HASH1
    vpshufb xmm0, xmm14, [rip + .Lgcm_reverse]
    vpaddd xmm14, xmm14, [rip + .Lgcm_one]
    GCM_ROUNDS1
    vpxor xmm1, xmm1, [r10]
    vaesenclast xmm0, xmm0, xmm1
    vmovdqu [rcx], xmm0
    add rdx, 16
    add rcx, 16
    dec r8
    jnz 3b
4:  GCM_END

// fn(key, state, data, blocks): hashes.
.balign 32
.global unikernel_aes_gcm_hash
unikernel_aes_gcm_hash:
    mov r8, rcx
    mov r9, rdx
    GCM_BEGIN
    cmp r8, 8
    jb 2f
1:  GCM_HASH8
    add r9, 128
    sub r8, 8
    cmp r8, 8
    jae 1b
2:  test r8, r8
    jz 4f
3:  vmovdqu xmm11, [r9]
    vpshufb xmm11, xmm11, [rip + .Lgcm_reverse]
    GCM_HASH1
    add r9, 16
    dec r8
    jnz 3b
4:  GCM_END

// fn(key, input, output): one block.
.balign 32
.global unikernel_aes_gcm_block
unikernel_aes_gcm_block:
    mov r11, [rdi + 240]
    mov r10, r11
    shl r10, 4
    vmovdqu xmm0, [rsi]
    GCM_ROUNDS1
    vaesenclast xmm0, xmm0, [rdi + r10]
    vmovdqu [rdx], xmm0
    ret

// --- Keys (FIPS 197, 5.2) ---

// The next round key from xmm1, of which each word takes in those before, and the word that xmm2 has in its place
// \word.
.macro GCM_NEXT_KEY word
    vpshufd xmm2, xmm2, \word
    vpslldq xmm3, xmm1, 4
    vpxor xmm1, xmm1, xmm3
    vpslldq xmm3, xmm3, 4
    vpxor xmm1, xmm1, xmm3
    vpslldq xmm3, xmm3, 4
    vpxor xmm1, xmm1, xmm3
    vpxor xmm1, xmm1, xmm2
.endm

.macro GCM_KEY128 at, constant
    vaeskeygenassist xmm2, xmm1, \constant
    GCM_NEXT_KEY 0xff
    vmovdqa [rdi + 16 * \at], xmm1
.endm

// xmm1 and xmm4 are the last two round keys.
.macro GCM_KEY256_EVEN at, constant
    vaeskeygenassist xmm2, xmm4, \constant
    GCM_NEXT_KEY 0xff
    vmovdqa [rdi + 16 * \at], xmm1
.endm

.macro GCM_KEY256_ODD at
    vaeskeygenassist xmm2, xmm1, 0
    vmovdqa xmm5, xmm1
    vmovdqa xmm1, xmm4
    GCM_NEXT_KEY 0xaa
    vmovdqa [rdi + 16 * \at], xmm1
    vmovdqa xmm4, xmm1
    vmovdqa xmm1, xmm5
.endm

// fn(key): expands the key whose first bytes are there, and the powers of its hash key.
.balign 32
.global unikernel_aes_gcm_init
unikernel_aes_gcm_init:
    mov r11, [rdi + 240]
    mov r10, r11
    shl r10, 4
    vmovdqa xmm1, [rdi]
    cmp r11, 10
    jne 1f
    GCM_KEY128 1, 0x01
    GCM_KEY128 2, 0x02
    GCM_KEY128 3, 0x04
    GCM_KEY128 4, 0x08
    GCM_KEY128 5, 0x10
    GCM_KEY128 6, 0x20
    GCM_KEY128 7, 0x40
    GCM_KEY128 8, 0x80
    GCM_KEY128 9, 0x1b
    GCM_KEY128 10, 0x36
    jmp 2f
1:  vmovdqa xmm4, [rdi + 16]
    GCM_KEY256_EVEN 2, 0x01
    GCM_KEY256_ODD 3
    GCM_KEY256_EVEN 4, 0x02
    GCM_KEY256_ODD 5
    GCM_KEY256_EVEN 6, 0x04
    GCM_KEY256_ODD 7
    GCM_KEY256_EVEN 8, 0x08
    GCM_KEY256_ODD 9
    GCM_KEY256_EVEN 10, 0x10
    GCM_KEY256_ODD 11
    GCM_KEY256_EVEN 12, 0x20
    GCM_KEY256_ODD 13
    GCM_KEY256_EVEN 14, 0x40

    // The hash key: a block of zeros, encrypted. Times x^-1: one bit to the left in reflected order, and reduced.
2:  vpxor xmm0, xmm0, xmm0
    GCM_ROUNDS1
    vaesenclast xmm0, xmm0, [rdi + r10]
    vpshufb xmm0, xmm0, [rip + .Lgcm_reverse]
    vpshufd xmm1, xmm0, 0xd3
    vpsrad xmm1, xmm1, 31
    vpaddq xmm0, xmm0, xmm0
    vpand xmm1, xmm1, [rip + .Lgcm_carries]
    vpxor xmm0, xmm0, xmm1
    vmovdqa [rdi + 256 + 112], xmm0
    vmovdqa xmm15, [rip + .Lgcm_polynomial]

    // Its powers: each is the one before, times the first. xmm13 is zero before each product.
    lea rax, [rdi + 256 + 96]
    lea rcx, [rdi + 256]
    vpshufd xmm1, xmm0, 0x4e
    vpxor xmm1, xmm1, xmm0
    vmovdqa xmm11, xmm0
3:  vpshufd xmm12, xmm11, 0x4e
    vpxor xmm12, xmm12, xmm11
    vpclmulqdq xmm9, xmm12, xmm1, 0x00
    vpclmulqdq xmm8, xmm11, xmm0, 0x00
    vpclmulqdq xmm10, xmm11, xmm0, 0x11
    GCM_REDUCE
    vmovdqa xmm11, xmm13
    vmovdqa [rax], xmm11
    sub rax, 16
    cmp rax, rcx
    jae 3b

    // The halves, added, of two powers in one block.
    .irp i, 0, 1, 2, 3
    vmovdqa xmm0, [rdi + 256 + 32 * \i]
    vmovdqa xmm1, [rdi + 256 + 32 * \i + 16]
    vpunpcklqdq xmm2, xmm0, xmm1
    vpunpckhqdq xmm3, xmm0, xmm1
    vpxor xmm2, xmm2, xmm3
    vmovdqa [rdi + 384 + 16 * \i], xmm2
    .endr
    ret
.popsection
