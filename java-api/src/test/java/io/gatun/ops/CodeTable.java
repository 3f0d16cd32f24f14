package io.gatun.ops;

import io.gatun.DType;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** What the codes of a format stand for, one by one from its definition, and which of them is nearest to a value. */
final class CodeTable {
    /** Between neighbours of NF4, from the lowest: above it, the upper one is taken. */
    private static final float[] NF4_BETWEEN = {
        -.8480964004993439f,
        -.6106329262256622f,
        -.4599952697753906f,
        -.33967943489551544f,
        -.23460740596055984f,
        -.13791173323988914f,
        -.045525018125772476f,
        .03979014977812767f,
        .1202552504837513f,
        .2035212516784668f,
        .2920137718319893f,
        .3893125355243683f,
        .5016634166240692f,
        .6427869200706482f,
        .8614784181118011f
    };
    /** The same of FP4, for magnitudes. */
    private static final float[] FP4_BETWEEN = {
        .00260417f, .0859375f, .20833333f, .29166667f, .4166667f, .583333f, .8333333f
    };

    private static final int[] FP4_ASCENDING = {0, 1, 6, 7, 4, 5, 2, 3};

    private static final Map<Object, CodeTable> TABLES = new ConcurrentHashMap<>();

    /** By code. */
    final double[] values;

    private final CodeBook book;
    /** The codes that stand for numbers, in ascending order of these. */
    private final Integer[] ascending;

    private CodeTable(double[] values, CodeBook book) {
        this.values = values;
        this.book = book;
        Integer[] codes = new Integer[values.length];
        Arrays.setAll(codes, code -> code);
        ascending = Arrays.stream(codes)
                .filter(code -> Double.isFinite(values[code]))
                .sorted(Comparator.comparingDouble(code -> values[code]))
                .toArray(Integer[]::new);
    }

    /** Null for codes that are integers. */
    static CodeTable of(QuantSpec spec) {
        if (spec.book() != null) {
            return TABLES.computeIfAbsent(spec.book(), key -> of(spec.book()));
        }
        return QuantSpec.isSmallFloat(spec.codes())
                ? TABLES.computeIfAbsent(spec.codes(), key -> new CodeTable(floats(spec.codes()), null))
                : null;
    }

    private static CodeTable of(CodeBook book) {
        float[] values = book.values();
        double[] exact = new double[values.length];
        Arrays.setAll(exact, code -> values[code]);
        return new CodeTable(exact, book);
    }

    /** Every pattern of a floating-point type of at most 8 bits. */
    static double[] floats(DType dtype) {
        return switch (dtype) {
            case F8E4M3 -> {
                double[] values = floats(8, 3, 7);
                values[0x7f] = values[0xff] = Double.NaN;
                yield values;
            }
            case F8E5M2 -> {
                double[] values = floats(8, 2, 15);
                for (int sign = 0; sign <= 0x80; sign += 0x80) {
                    values[sign + 0x7c] = sign == 0 ? Double.POSITIVE_INFINITY : Double.NEGATIVE_INFINITY;
                    Arrays.fill(values, sign + 0x7d, sign + 0x80, Double.NaN);
                }
                yield values;
            }
            case F6E3M2 -> floats(6, 2, 3);
            case F6E2M3 -> floats(6, 3, 1);
            case F4E2M1 -> new double[] {0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6};
            default -> throw new AssertionError(dtype);
        };
    }

    private static double[] floats(int bits, int mantissaBits, int bias) {
        double[] values = new double[1 << bits];
        for (int code = 0; code < values.length; code++) {
            double mantissa = (code % (1 << mantissaBits)) / (double) (1 << mantissaBits);
            int exponent = code / (1 << mantissaBits) % (1 << bits - 1 - mantissaBits);
            double magnitude =
                    exponent == 0 ? mantissa * Math.pow(2, 1 - bias) : (1 + mantissa) * Math.pow(2, exponent - bias);
            values[code] = code < values.length / 2 ? magnitude : -magnitude;
        }
        return values;
    }

    double largest() {
        return values[ascending[ascending.length - 1]];
    }

    /** The code nearest to a value: of floats the even one on ties, of code books the lower one. */
    int nearest(float value) {
        if (CodeBook.NF4.equals(book)) {
            return above(NF4_BETWEEN, value);
        }
        if (CodeBook.FP4.equals(book)) {
            float magnitude = Math.abs(value);
            int position = above(FP4_BETWEEN, magnitude);
            return FP4_ASCENDING[position] + (value < 0 ? 8 : 0);
        }
        int low = below(value);
        int high = above(value);
        if (low == high) {
            return signed(low, value);
        }
        BigDecimal exact = new BigDecimal(value);
        int order = exact.subtract(new BigDecimal(values[low]))
                .abs()
                .compareTo(new BigDecimal(values[high]).subtract(exact).abs());
        boolean upper = order > 0 || order == 0 && book == null && high % 2 == 0;
        return signed(upper ? high : low, value);
    }

    private static int above(float[] thresholds, float value) {
        int count = 0;
        for (float threshold : thresholds) {
            count += value > threshold ? 1 : 0;
        }
        return count;
    }

    /** The code of the greatest number that is not above a value, or the lowest code. */
    int below(float value) {
        int position = 0;
        while (position + 1 < ascending.length && values[ascending[position + 1]] <= value) {
            position++;
        }
        // Of equal numbers the first one stands for them, the last one for what is above.
        while (position > 0 && values[ascending[position]] == value && values[ascending[position - 1]] == value) {
            position--;
        }
        return ascending[position];
    }

    /** The code of the least number that is not below a value, or the highest code. */
    int above(float value) {
        int position = 0;
        while (position + 1 < ascending.length && values[ascending[position]] < value) {
            position++;
        }
        return ascending[position];
    }

    /** Both zeros of floats are the same number: the one with the sign of the value is meant. */
    private int signed(int code, float value) {
        if (book == null && values[code] == 0) {
            return Float.floatToRawIntBits(value) < 0 ? values.length / 2 : 0;
        }
        return code;
    }
}
