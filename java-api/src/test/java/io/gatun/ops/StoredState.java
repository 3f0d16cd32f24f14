package io.gatun.ops;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.Optimizer.State;
import java.util.Map;

/** State 1 or 2 of a parameter as its tensors hold it, decoded element by element. */
final class StoredState {
    /** create_dynamic_map(signed, 3 exponent bits, 4 bits) of bitsandbytes, as torchao uses it. */
    private static final float[] SIGNED4 = {
        -.8875f,
        -.6625f,
        -.4375f,
        -0x1.b33332p-3f,
        -.0775f,
        -0x1.0a3d72p-5f,
        -.0055f,
        0,
        .0055f,
        0x1.0a3d72p-5f,
        .0775f,
        0x1.b33332p-3f,
        .4375f,
        .6625f,
        .8875f,
        1
    };

    final State format;
    final boolean first;
    private final Tensor codes;
    private final Tensor scales;
    private final float[] book;
    private final long count;
    private final int block;

    private StoredState(Map<String, Tensor> tensors, String name, int number, long count, int block) {
        codes = tensors.get(name + ".state" + number);
        scales = tensors.get(name + ".absmax" + number);
        boolean mapped = tensors.containsKey(name + ".qmap" + number);
        first = number == 1;
        format = codes.dtype() == DType.F32
                ? State.F32
                : codes.dtype() == DType.F8E4M3 ? State.FP8 : mapped ? State.DYNAMIC8 : State.DYNAMIC4;
        this.count = count;
        this.block = block;
        book = switch (format) {
            case F32 -> null;
            case FP8 -> floats8();
            case DYNAMIC8 -> (first ? CodeBook.DYNAMIC : CodeBook.DYNAMIC_UNSIGNED).values();
            case DYNAMIC4 -> first ? SIGNED4 : sixteenths();
        };
    }

    /** Null if there is none. */
    static StoredState of(Map<String, Tensor> tensors, String name, int number, long count, int block) {
        return tensors.containsKey(name + ".state" + number)
                ? new StoredState(tensors, name, number, count, block)
                : null;
    }

    private static float[] floats8() {
        float[] values = new float[256];
        for (int i = 0; i < 256; i++) {
            values[i] = DType.F8E4M3.decode(i);
        }
        return values;
    }

    private static float[] sixteenths() {
        float[] values = new float[16];
        for (int i = 0; i < 16; i++) {
            values[i] = (i + 1) / 16f;
        }
        return values;
    }

    float scale(int row, long i) {
        return scales.segment().getAtIndex(JAVA_FLOAT, row * Math.ceilDiv(count, block) + i / block);
    }

    int code(int row, long i) {
        if (format == State.DYNAMIC4) {
            int both = codes.segment().get(JAVA_BYTE, row * Math.ceilDiv(count, 2) + i / 2) & 0xff;
            return i % 2 == 0 ? both >> 4 : both & 15;
        }
        return codes.segment().get(JAVA_BYTE, row * count + i) & 0xff;
    }

    double value(int row, long i) {
        return format == State.F32
                ? codes.segment().getAtIndex(JAVA_FLOAT, row * count + i)
                : (float) (book[code(row, i)] * scale(row, i));
    }

    /** How far a value is from the nearest one that the codes of its block stand for. */
    double distance(int row, long i, double value) {
        double least = Double.POSITIVE_INFINITY;
        float scale = scale(row, i);
        for (float number : book) {
            // NaN is no neighbour.
            if (Math.abs(number * scale - value) < least) {
                least = Math.abs(number * scale - value);
            }
        }
        return least;
    }

    /** What scales are multiplied by to get the largest magnitude of a block. */
    double scaled() {
        return format == State.FP8 ? 448 : 1;
    }
}
