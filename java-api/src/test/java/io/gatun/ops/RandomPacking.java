package io.gatun.ops;

import io.gatun.DType;
import io.gatun.ops.Packing.Format;
import io.gatun.ops.QuantSpec.ZeroPoint;
import java.util.Arrays;

/** A random format of another system with sizes and a spec that it has. */
final class RandomPacking {
    final Random random;
    final Format format;
    final int rows;
    final int depth;
    final QuantSpec spec;
    /** The type of scales and float zero points in the format. */
    final DType floats;

    RandomPacking(Random random) {
        this.random = random;
        format = random.of(Format.values());
        int bits = switch (format) {
            case GPTQ, GPTQ_V2, MATMUL_NBITS -> random.of(2, 4, 8);
            case JLAMA -> random.of(4, 8);
            case AWQ, BITSANDBYTES, TORCHAO -> 4;
        };
        boolean words = format == Format.GPTQ || format == Format.GPTQ_V2;
        rows = words ? 32 / bits * random.between(0, 2) : format == Format.AWQ ? 8 * random.between(0, 3) : small(9);
        depth = switch (format) {
            case GPTQ, GPTQ_V2 -> 32 / bits * random.between(1, 8);
            case TORCHAO -> 2 * random.between(1, 50);
            case JLAMA -> 32 * random.between(1, 3);
            case AWQ, MATMUL_NBITS, BITSANDBYTES -> random.between(1, 100);
        };
        floats = format == Format.BITSANDBYTES || format == Format.JLAMA
                ? DType.F32
                : random.of(DType.F32, DType.F16, DType.BF16);
        spec = spec(bits).withScales(floats == DType.F16 && random.chance(0.5) ? DType.F16 : DType.F32);
    }

    private int small(int most) {
        return random.between(0, most);
    }

    private QuantSpec spec(int bits) {
        if (format == Format.BITSANDBYTES) {
            CodeBook book = random.of(CodeBook.NF4, CodeBook.FP4, Formats.uneven(16));
            return QuantSpec.codeBook(book, random.of(0, 16, 64, random.between(16, 200)));
        }
        long group = switch (format) {
            case MATMUL_NBITS -> random.of(0, 16, 32, 64, 128);
            case JLAMA -> 32;
            default -> depth < 16 || random.chance(0.3) ? 0 : random.between(16, depth);
        };
        ZeroPoint zeroPoint = switch (format) {
            case MATMUL_NBITS -> random.of(ZeroPoint.values());
            case TORCHAO -> ZeroPoint.FLOAT;
            case JLAMA -> ZeroPoint.NONE;
            default -> random.of(ZeroPoint.NONE, ZeroPoint.INTEGER);
        };
        boolean plain = zeroPoint == ZeroPoint.NONE;
        QuantSpec spec = switch (bits) {
            case 2 -> plain ? QuantSpec.int2(group) : QuantSpec.int2Asymmetric(group);
            case 4 -> plain ? QuantSpec.int4(group) : QuantSpec.int4Asymmetric(group);
            default -> plain ? QuantSpec.int8(group) : QuantSpec.int8Asymmetric(group);
        };
        return zeroPoint == ZeroPoint.FLOAT ? spec.withFloatZeroPoints() : spec;
    }

    boolean hasGroupIndex() {
        return format == Format.GPTQ || format == Format.GPTQ_V2;
    }

    /** A spec that the format does not have. */
    QuantSpec wrongSpec() {
        if (format == Format.BITSANDBYTES) {
            return random.of(
                    spec.withNestedScales(),
                    spec.withNibbles(QuantSpec.NibbleOrder.HIGH_FIRST),
                    QuantSpec.int4(0),
                    QuantSpec.dynamic8(64));
        }
        return random.of(
                QuantSpec.nf4(64), QuantSpec.fp8(DType.F8E4M3), QuantSpec.gguf(GgufType.Q8_0), spec.withFlatBlocks(0));
    }

    /** Numbers of the format's type, of both signs, no nearer to 0 than what 255 may be divided by in f16. */
    float[] scales(int count) {
        float[] values = random.normal(count, 0.1);
        for (int i = 0; i < count; i++) {
            values[i] = Decoder.rounded(values[i] + Math.copySign(0.01f, values[i]), floats);
        }
        return values;
    }

    /** A random order of the depth. */
    int[] order() {
        int[] order = new int[depth];
        Arrays.setAll(order, k -> k);
        for (int k = depth - 1; k > 0; k--) {
            int other = random.between(0, k);
            int held = order[k];
            order[k] = order[other];
            order[other] = held;
        }
        return order;
    }

    @Override
    public String toString() {
        return format + " " + spec + " [" + rows + ", " + depth + "] " + floats;
    }
}
