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
            case F16, BF16 -> dtype.decode(segment.getAtIndex(JAVA_SHORT, element));
            case I8, U8, I32, U4, U2 -> getInt(dtype, segment, element);
            default -> dtype.decode(bits(dtype, segment, element));
        };
    }

    static int getInt(DType dtype, MemorySegment segment, long element) {
        return switch (dtype) {
            case I8 -> segment.get(JAVA_BYTE, element);
            case I32 -> segment.getAtIndex(JAVA_INT, element);
            case U8, U4, U2 -> bits(dtype, segment, element);
            default -> throw Check.invalid("dtype", dtype, "an integer type");
        };
    }

    /** The pattern of an element of 8, 4 or 2 bits. */
    private static int bits(DType dtype, MemorySegment segment, long element) {
        int perByte = dtype.elementsPerBytes();
        int shift = (int) (element % perByte) * dtype.bits();
        return segment.get(JAVA_BYTE, element / perByte) >>> shift & (1 << dtype.bits()) - 1;
    }

    /** Rounds to nearest, ties to even, for the floating-point types; refuses what an integer type does not hold. */
    static void set(DType dtype, MemorySegment segment, long element, float value) {
        switch (dtype) {
            case F32 -> segment.setAtIndex(JAVA_FLOAT, element, value);
            case F16, BF16 -> segment.setAtIndex(JAVA_SHORT, element, (short) dtype.encode(value));
            case I32 -> segment.setAtIndex(JAVA_INT, element, integer(dtype, value));
            case I8, U8, U4, U2 -> setBits(dtype, segment, element, integer(dtype, value));
            default -> {
                if (!holds(dtype, value)) {
                    throw refused(dtype, "value", value);
                }
                setBits(dtype, segment, element, dtype.encode(value));
            }
        }
    }

    private static void setBits(DType dtype, MemorySegment segment, long element, int pattern) {
        int perByte = dtype.elementsPerBytes();
        int shift = (int) (element % perByte) * dtype.bits();
        int mask = (1 << dtype.bits()) - 1;
        int other = segment.get(JAVA_BYTE, element / perByte) & ~(mask << shift);
        segment.set(JAVA_BYTE, element / perByte, (byte) (other | (pattern & mask) << shift));
    }

    /** Whether the type holds the value, an integer type exactly, a floating-point type after rounding. */
    static boolean holds(DType dtype, float value) {
        if (dtype.isFloat()) {
            return dtype.holds(value);
        }
        // In double, where both limits are exact.
        return value == Math.rint(value) && (double) value >= min(dtype) && value <= (double) max(dtype);
    }

    /** Copies all elements to others of the same shape, rounded as {@link #set} does; I32 to I32 as they are. */
    static void convert(
            Shape shape,
            DType fromType,
            MemorySegment from,
            long[] fromStrides,
            DType toType,
            MemorySegment to,
            long[] toStrides) {
        if (shape.elements() == 0) {
            return;
        }
        long[] index = new long[shape.rank()];
        do {
            long there = Layout.element(shape, fromStrides, index);
            long here = Layout.element(shape, toStrides, index);
            if (fromType == DType.I32 && toType == DType.I32) {
                to.setAtIndex(JAVA_INT, here, from.getAtIndex(JAVA_INT, there));
            } else {
                set(toType, to, here, get(fromType, from, there));
            }
        } while (Layout.next(shape, index));
    }

    /** The exception for a value that {@link #holds} denies. */
    static IllegalArgumentException refused(DType dtype, String argument, float value) {
        String allowed = dtype == DType.E8M0
                ? "a power of two 2^-127..2^127 or NaN"
                : dtype.isFloat() ? "a number" : "an integer " + min(dtype) + ".." + max(dtype);
        return Check.invalid(argument, value, allowed + " for dtype " + dtype);
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
