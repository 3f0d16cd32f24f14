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
            case I8 -> segment.set(JAVA_BYTE, element, (byte) integer(dtype, value, Byte.MIN_VALUE, Byte.MAX_VALUE));
            case U8 -> segment.set(JAVA_BYTE, element, (byte) integer(dtype, value, 0, 255));
            case I32 ->
                segment.setAtIndex(JAVA_INT, element, integer(dtype, value, Integer.MIN_VALUE, Integer.MAX_VALUE));
            case U4 -> {
                int shift = (int) (element % 2) * 4;
                int other = segment.get(JAVA_BYTE, element / 2) & 0xf0 >>> shift;
                segment.set(JAVA_BYTE, element / 2, (byte) (other | integer(dtype, value, 0, 15) << shift));
            }
        }
    }

    private static int integer(DType dtype, float value, int min, int max) {
        // In double, where both limits are exact.
        if (value != Math.rint(value) || (double) value < min || (double) value > max) {
            throw Check.invalid("value", value, "an integer " + min + ".." + max + " for dtype " + dtype);
        }
        return (int) value;
    }
}
