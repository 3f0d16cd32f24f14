package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.KvFormat.Scaling;
import java.util.Arrays;

/** What lies in a pool, and what rows become in it, from the definition of {@link KvFormat}. */
final class KvOracle {
    private KvOracle() {}

    // ---- what lies there -------------------------------------------------------------------------------------------

    /** What a scale multiplies: values themselves, codes less what stands for 0 without a zero point. */
    static double code(KvPool pool, long slot, int head, int channel) {
        long page = slot / pool.pageSize();
        long row = slot % pool.pageSize();
        if (pool.format().scaling() == Scaling.NONE) {
            return pool.rows().getFloat(page, head, row, channel);
        }
        return pool.rows().getInt(page, head, row, channel) - middle(pool.format());
    }

    /** 1 of values. */
    static double scale(KvPool pool, long slot, int head, int channel) {
        return pool.scales() == null ? 1 : number(pool.scales(), pool, slot, head, channel);
    }

    /** 0 without a zero point. */
    static double zero(KvPool pool, long slot, int head, int channel) {
        return pool.zeroPoints() == null ? 0 : number(pool.zeroPoints(), pool, slot, head, channel);
    }

    private static double number(Tensor numbers, KvPool pool, long slot, int head, int channel) {
        KvFormat format = pool.format();
        long page = slot / pool.pageSize();
        long row = slot % pool.pageSize();
        if (format.scaling() == Scaling.PER_CHANNEL) {
            return numbers.getFloat(page, head, row / format.group(), channel);
        }
        return numbers.getFloat(page, head, row, format.group() == 0 ? 0 : channel / format.group());
    }

    /** What reading gives before it is rounded to the type of x. */
    static float value(KvPool pool, long slot, int head, int channel) {
        float product = (float) code(pool, slot, head, channel) * (float) scale(pool, slot, head, channel);
        return pool.zeroPoints() == null ? product : product + (float) zero(pool, slot, head, channel);
    }

    private static int middle(KvFormat format) {
        return format.zeroPoint() || format.dtype() == DType.I8 ? 0 : format.dtype() == DType.U4 ? 8 : 2;
    }

    // ---- what is written -------------------------------------------------------------------------------------------

    /**
     * How values that share a scale are kept.
     *
     * @param codes as they are stored
     */
    record Group(int[] codes, float scale, float zero) {
        static Group of(KvFormat format, float[] values) {
            float low = values[0];
            float high = values[0];
            float extreme = values[0];
            for (float value : values) {
                low = Math.min(low, value);
                high = Math.max(high, value);
                extreme = Math.abs(value) > Math.abs(extreme) ? value : extreme;
            }
            int most = format.dtype() == DType.I8 ? 127 : format.dtype() == DType.U4 ? 15 : 3;
            float exact = format.zeroPoint()
                    ? (high - low) / most
                    : format.dtype() == DType.I8 ? Math.abs(extreme) / 127 : extreme / -middle(format);
            float scale = f16(exact);
            float zero = format.zeroPoint() ? f16(low) : 0;
            int least = format.dtype() == DType.I8 ? -127 : 0;
            int[] codes = new int[values.length];
            for (int n = 0; n < codes.length; n++) {
                double steps = scale == 0 ? 0 : Math.rint((values[n] - zero) * (1 / scale));
                codes[n] = (int) Math.max(least, Math.min(most, steps + middle(format)));
            }
            return new Group(codes, scale, zero);
        }

        private static float f16(float value) {
            return DType.f16ToFloat(DType.floatToF16(value));
        }
    }

    /** A value as the type keeps it; of F8 what is beyond the largest becomes that. */
    static float rounded(DType dtype, float value) {
        if (dtype == DType.F32 || Float.isNaN(value)) {
            return value;
        }
        boolean f8 = dtype == DType.F8E4M3 || dtype == DType.F8E5M2;
        float held = f8 ? Math.max(-dtype.largest(), Math.min(dtype.largest(), value)) : value;
        return dtype.decode(dtype.encode(held));
    }

    /** Values or codes less what stands for 0, scales, zero points: of each slot, head and channel. */
    static double[][] numbers(KvPool pool) {
        int count = pool.pages() * pool.pageSize() * pool.heads() * pool.size();
        double[][] numbers = new double[3][count];
        for (int n = 0; n < count; n++) {
            int channel = n % pool.size();
            int head = n / pool.size() % pool.heads();
            int slot = n / pool.size() / pool.heads();
            numbers[0][n] = code(pool, slot, head, channel);
            numbers[1][n] = scale(pool, slot, head, channel);
            numbers[2][n] = zero(pool, slot, head, channel);
        }
        return numbers;
    }

    /** What the numbers become when rows are written. */
    static void write(KvPool pool, Tensor x, long[] slots, double[][] numbers) {
        KvFormat format = pool.format();
        boolean perChannel = format.scaling() == Scaling.PER_CHANNEL;
        int tokens = perChannel ? format.group() : 1;
        int channels =
                perChannel || format.scaling() == Scaling.NONE ? 1 : format.group() == 0 ? pool.size() : format.group();
        for (int head = 0; head < pool.heads(); head++) {
            for (int t = 0; t < slots.length; t += tokens) {
                for (int c = 0; slots[t] >= 0 && c < pool.size(); c += channels) {
                    writeGroup(pool, x, slots, head, t, tokens, c, Math.min(channels, pool.size() - c), numbers);
                }
            }
        }
    }

    private static void writeGroup(
            KvPool pool, Tensor x, long[] slots, int head, int t, int tokens, int c, int width, double[][] numbers) {
        KvFormat format = pool.format();
        float[] values = new float[tokens * width];
        for (int n = 0; n < values.length; n++) {
            values[n] = x.getFloat(head, t + n / width, c + n % width);
        }
        Group group = format.scaling() == Scaling.NONE ? null : Group.of(format, values);
        for (int n = 0; n < values.length; n++) {
            long row = slots[t + n / width] * pool.heads() + head;
            int at = (int) (row * pool.size()) + c + n % width;
            numbers[0][at] = group == null ? rounded(format.dtype(), values[n]) : group.codes[n] - middle(format);
            numbers[1][at] = group == null ? 1 : group.scale;
            numbers[2][at] = group == null ? 0 : group.zero;
        }
    }

    // ---- memory ----------------------------------------------------------------------------------------------------

    /** Random codes and scales of either sign, or normal values, written without the library. */
    static void fill(KvPool pool, Random random, double size) {
        KvFormat format = pool.format();
        if (format.scaling() == Scaling.NONE) {
            pool.rows().copyFrom(random.normal(elements(pool.rows()), size));
            return;
        }
        for (long n = 0; n < pool.rows().segment().byteSize(); n++) {
            int low = format.dtype() == DType.I8 ? -127 : -128;
            pool.rows().segment().set(JAVA_BYTE, n, (byte) random.between(low, 127));
        }
        double step = size / (format.dtype() == DType.I8 ? 80 : format.dtype() == DType.U4 ? 5 : 1.5);
        pool.scales().copyFrom(random.normal(elements(pool.scales()), step));
        if (format.zeroPoint()) {
            pool.zeroPoints().copyFrom(random.normal(elements(pool.zeroPoints()), size));
        }
    }

    private static int elements(Tensor tensor) {
        return (int) tensor.shape().elements();
    }

    /** All of a pool's memory. */
    static byte[] bytes(KvPool pool) {
        byte[] all = new byte[0];
        for (Tensor part : new Tensor[] {pool.rows(), pool.scales(), pool.zeroPoints()}) {
            if (part != null) {
                byte[] bytes = part.segment().toArray(JAVA_BYTE);
                all = Arrays.copyOf(all, all.length + bytes.length);
                System.arraycopy(bytes, 0, all, all.length - bytes.length, bytes.length);
            }
        }
        return all;
    }

    /** One of every kind; per channel for pages of a multiple of 32. */
    static KvFormat[] formats() {
        return new KvFormat[] {
            KvFormat.F32,
            KvFormat.BF16,
            KvFormat.F16,
            KvFormat.F8E4M3,
            KvFormat.F8E5M2,
            KvFormat.int8(),
            KvFormat.int8(16),
            KvFormat.int8().perChannel(32),
            KvFormat.int4(0),
            KvFormat.int4(32),
            KvFormat.int4(16).withoutZeroPoint(),
            KvFormat.int4(0).perChannel(16),
            KvFormat.int4(0).withoutZeroPoint().perChannel(32),
            KvFormat.int2(0),
            KvFormat.int2(16),
            KvFormat.int2(0).withoutZeroPoint(),
            KvFormat.int2(0).perChannel(32),
            KvFormat.int2(0).withoutZeroPoint().perChannel(16)
        };
    }
}
