package io.gatun;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.gatun.internal.Check;
import java.lang.foreign.MemorySegment;

/** Reads and writes single elements, addressed by their distance in elements from the start of a segment. */
final class Elements {
    private Elements() {}

    static float get(DType dtype, MemorySegment segment, long element) {
        return switch (dtype) {
            case F32 -> segment.getAtIndex(JAVA_FLOAT, element);
            case F16 -> DType.f16ToFloat(segment.getAtIndex(JAVA_SHORT, element));
            case BF16 -> DType.bf16ToFloat(segment.getAtIndex(JAVA_SHORT, element));
            case I8, U8, I32, U4 -> getInt(dtype, segment, element);
        };
    }

    static int getInt(DType dtype, MemorySegment segment, long element) {
        return switch (dtype) {
            case I8 -> segment.get(JAVA_BYTE, element);
            case U8 -> segment.get(JAVA_BYTE, element) & 0xff;
            case I32 -> segment.getAtIndex(JAVA_INT, element);
            case U4 -> segment.get(JAVA_BYTE, element / 2) >>> (int) (element % 2) * 4 & 0xf;
            case F32, F16, BF16 -> throw Check.invalid("dtype", dtype, "an integer type");
        };
    }

    /** Rounds to nearest, ties to even, for the floating-point types; refuses what an integer type does not hold. */
    static void set(DType dtype, MemorySegment segment, long element, float value) {
        switch (dtype) {
            case F32 -> segment.setAtIndex(JAVA_FLOAT, element, value);
            case F16 -> segment.setAtIndex(JAVA_SHORT, element, DType.floatToF16(value));
            case BF16 -> segment.setAtIndex(JAVA_SHORT, element, DType.floatToBf16(value));
            case I8, U8 -> segment.set(JAVA_BYTE, element, (byte) integer(dtype, value));
            case I32 -> segment.setAtIndex(JAVA_INT, element, integer(dtype, value));
            case U4 -> {
                int shift = (int) (element % 2) * 4;
                int other = segment.get(JAVA_BYTE, element / 2) & 0xf0 >>> shift;
                segment.set(JAVA_BYTE, element / 2, (byte) (other | integer(dtype, value) << shift));
            }
        }
    }

    /** Whether the type holds the value, an integer type exactly. */
    static boolean holds(DType dtype, float value) {
        // In double, where both limits are exact.
        return dtype.isFloat()
                || value == Math.rint(value) && (double) value >= min(dtype) && value <= (double) max(dtype);
    }

    /** The exception for a value that {@link #holds} denies. */
    static IllegalArgumentException refused(DType dtype, String argument, float value) {
        return Check.invalid(argument, value, "an integer " + min(dtype) + ".." + max(dtype) + " for dtype " + dtype);
    }

    private static int integer(DType dtype, float value) {
        if (!holds(dtype, value)) {
            throw refused(dtype, "value", value);
        }
        return (int) value;
    }

    private static int min(DType dtype) {
        return switch (dtype) {
            case I8 -> Byte.MIN_VALUE;
            case I32 -> Integer.MIN_VALUE;
            default -> 0;
        };
    }

    private static int max(DType dtype) {
        return switch (dtype) {
            case I8 -> Byte.MAX_VALUE;
            case I32 -> Integer.MAX_VALUE;
            default -> (1 << dtype.bits()) - 1;
        };
    }
}
