package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Packing.Format;
import io.gatun.ops.Packing.Planes;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.lang.foreign.MemorySegment;

/** What the planes of a format stand for, element by element and bit by bit, as the format's definition says. */
final class PackingOracle {
    /** Where AWQ puts 8 columns in a word, from the lowest bits on. */
    private static final int[] AWQ_ORDER = {0, 2, 4, 6, 1, 3, 5, 7};

    private final Format format;
    private final QuantSpec spec;
    private final Planes planes;
    private final int rows;
    private final int depth;
    private final int bits;
    private final int group;
    private final int groups;

    PackingOracle(Format format, QuantSpec spec, int rows, int depth, Planes planes) {
        this.format = format;
        this.spec = spec;
        this.planes = planes;
        this.rows = rows;
        this.depth = depth;
        bits = spec.codes().bits();
        int elements = format == Format.BITSANDBYTES ? rows * depth : depth;
        group = blockOf(format, spec, elements);
        groups = elements == 0 ? 0 : (elements + group - 1) / group;
    }

    /** The elements that share a scale; of MatMulNBits a power of two, where others have whole rows. */
    private static int blockOf(Format format, QuantSpec spec, int elements) {
        int given = (int) spec.group();
        if (format != Format.MATMUL_NBITS) {
            return given == 0 ? elements : Math.min(given, elements);
        }
        int block = given == 0 ? 16 : given;
        while (given == 0 && block < elements) {
            block *= 2;
        }
        return block;
    }

    /** Group of an element without a group index. */
    int groupOf(int row, int k) {
        return format == Format.BITSANDBYTES ? (row * depth + k) / group : k / group;
    }

    private static int bitsAt(Tensor plane, long at, int count) {
        MemorySegment bytes = plane.segment();
        int value = 0;
        for (int b = 0; b < count; b++) {
            value |= (bytes.get(JAVA_BYTE, (at + b) / 8) >> (at + b) % 8 & 1) << b;
        }
        return value;
    }

    /** The bits of a code as they are stored. */
    int stored(int row, int k) {
        long at = switch (format) {
            case GPTQ, GPTQ_V2 -> 32L * (k * bits / 32 * rows + row) + k * bits % 32;
            case AWQ -> 32L * (k * (rows / 8) + row / 8) + 4 * awqPlace(row);
            case MATMUL_NBITS -> ((long) row * groups * group + k) * bits;
            case BITSANDBYTES -> 4L * (row * depth + k ^ 1);
            case TORCHAO -> 4L * (row * depth + k);
            case JLAMA ->
                bits == 8 ? 8L * (row * depth + k) : 8L * (row * depth / 2 + k / 32 * 16 + k % 16) + 4 * (k % 32 / 16);
        };
        return bitsAt(planes.codes(), at, bits);
    }

    private static int awqPlace(int row) {
        int place = 0;
        while (AWQ_ORDER[place] != row % 8) {
            place++;
        }
        return place;
    }

    private float at(Tensor plane, int row, int g) {
        return plane.reshape(plane.shape().elements())
                .getFloat(
                        switch (format) {
                            case GPTQ, GPTQ_V2, AWQ, TORCHAO -> g * rows + row;
                            case MATMUL_NBITS, JLAMA -> row * groups + g;
                            case BITSANDBYTES -> g;
                        });
    }

    float scale(int row, int g) {
        return at(planes.scales(), row, g);
    }

    float floatZero(int row, int g) {
        return at(planes.zeroPoints(), row, g);
    }

    /** The integer zero point of a group, if there are any. */
    private int zero(int row, int g) {
        if (planes.zeroPoints() == null) {
            return 1 << bits - 1;
        }
        long at = switch (format) {
            case GPTQ, GPTQ_V2 -> 32L * (g * (rows * bits / 32) + row * bits / 32) + row * bits % 32;
            case AWQ -> 32L * (g * (rows / 8) + row / 8) + 4 * awqPlace(row);
            case MATMUL_NBITS -> 8L * row * ((groups * bits + 7) / 8) + g * bits;
            default -> throw new AssertionError(format);
        };
        int zero = bitsAt(planes.zeroPoints(), at, bits);
        return format == Format.GPTQ ? zero + 1 & (1 << bits) - 1 : zero;
    }

    private int signed(int code) {
        return code << 32 - bits >> 32 - bits;
    }

    /** The value of an element of a group, rounded as the result's formats are. */
    float value(int row, int k, int g) {
        int q = stored(row, k);
        float s = scale(row, g);
        if (spec.zeroPoint() == ZeroPoint.FLOAT) {
            float f = floatZero(row, g);
            boolean signed = format == Format.TORCHAO;
            return (signed ? signed(q) + 8 : q) * s + (signed ? f - 8 * s : -(f * s));
        }
        double number = switch (format) {
            case BITSANDBYTES -> CodeTable.of(spec).values[q];
            case JLAMA -> signed(bits == 8 ? q : q ^ 8);
            default -> q - zero(row, g);
        };
        return (float) (number * s);
    }

    /** What a format keeps for the value of code 0, in its type. */
    static float floatZeroOf(Format format, float zeroPoint, float scale, DType dtype) {
        return Decoder.rounded(format == Format.TORCHAO ? zeroPoint + 8 * scale : -(zeroPoint / scale), dtype);
    }
}
