package io.gatun;

import static io.gatun.bindings.c.gatun_h.gatun_tier_supported;

import io.gatun.bindings.NativeLibrary;
import java.util.Locale;

/**
 * Instruction-set tiers in ascending order. The library uses the highest one that processor and operating system
 * support; the environment variable {@code GATUN_MAX_ISA} (a name in lower case) can only lower it.
 */
public enum Tier {
    /** Portable C++, compiled for x86-64-v2. */
    SCALAR,
    /** AVX2, FMA, F16C. */
    AVX2,
    /** AVX2 and AVX-VNNI: 8-bit dot products in 256-bit registers. */
    AVXVNNI,
    /** AVX-512 F, BW, DQ, VL. */
    AVX512,
    /** AVX-512 and VNNI, BF16, VBMI. */
    AVX512VNNI;

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
