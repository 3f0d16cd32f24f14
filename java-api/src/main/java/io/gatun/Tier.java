package io.gatun;

import static io.gatun.bindings.c.gatun_h.gatun_tier_supported;

import io.gatun.bindings.NativeLibrary;
import java.util.Locale;

/**
 * Instruction-set tiers, those of an architecture in ascending order. The library uses the highest one that processor and
 * operating system support; the environment variable {@code GATUN_MAX_ISA} (a name in lower case, of this architecture)
 * can only lower it. Tiers of other architectures are never supported.
 */
public enum Tier {
    /** Portable C++; on x86-64 compiled for x86-64-v2. */
    SCALAR,
    /** AVX2, FMA, F16C. */
    AVX2,
    /** AVX2 and AVX-VNNI: 8-bit dot products in 256-bit registers. */
    AVXVNNI,
    /** AVX-512 F, BW, DQ, VL. */
    AVX512,
    /** AVX-512 and VNNI, BF16, VBMI. */
    AVX512VNNI,
    /** 64-bit ARM: Armv8.0-A, Advanced SIMD. */
    NEON,
    /** Armv8.2-A and DotProd: 8-bit dot products. */
    DOTPROD,
    /** Armv8.2-A, DotProd and I8MM: products of unsigned by signed bytes, and of 8-bit matrices. */
    I8MM;

    /** Whether kernels of this tier can run here, whatever {@code GATUN_MAX_ISA} says. */
    public boolean isSupported() {
        NativeLibrary.load();
        return gatun_tier_supported(ordinal()) == 1;
    }

    /** The name as {@code GATUN_MAX_ISA} takes it: {@code avx512vnni}. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
