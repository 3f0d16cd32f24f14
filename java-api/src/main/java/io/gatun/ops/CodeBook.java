package io.gatun.ops;

import static io.gatun.bindings.c.gatun_h.gatun_code_book;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import io.gatun.bindings.NativeLibrary;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * What codes stand for that are no numbers themselves: 16 values for codes of 4 bits, 256 for codes of 8 bits. Values
 * times a block's scale are quantized to the nearest one, the lower one on ties. Immutable.
 */
public final class CodeBook {
    /** 4-bit NormalFloat (QLoRA): quantiles of a normal distribution, -1, 0 and 1 among them. */
    public static final CodeBook NF4 = new CodeBook("nf4", 4, 2);
    /** bitsandbytes' 4-bit float: a sign and 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1; codes are not in the order of values. */
    public static final CodeBook FP4 = new CodeBook("fp4", 4, 3);
    /** bitsandbytes' dynamic tree of 8 bits: a sign, seven decades of up to 64 values each. */
    public static final CodeBook DYNAMIC = new CodeBook("dynamic", 8, 4);
    /** The same without a sign, twice as fine; negative values become 0. */
    public static final CodeBook DYNAMIC_UNSIGNED = new CodeBook("unsigned dynamic", 8, 5);
    /**
     * i / 127 for i = -127..127, rounded once, 0 twice. bitsandbytes makes its own by torch.linspace, whose last bits depend
     * on the processor: of a checkpoint, take its map ({@link #of}).
     */
    public static final CodeBook LINEAR = new CodeBook("linear", 8, 6);
    /** i / 255, likewise; negative values become 0. */
    public static final CodeBook LINEAR_UNSIGNED = new CodeBook("unsigned linear", 8, 7);

    private static final int GIVEN = 1;

    private final String name;
    private final int bits;
    private final int number;
    /** Null of a book that the native library knows by number. */
    private final MemorySegment values;

    private CodeBook(String name, int bits, int number) {
        this.name = name;
        this.bits = bits;
        this.number = number;
        values = null;
    }

    private CodeBook(float[] copied) {
        name = "given";
        number = GIVEN;
        bits = copied.length == 16 ? 4 : 8;
        MemorySegment memory = Arena.ofAuto().allocate(JAVA_FLOAT, copied.length);
        MemorySegment.copy(copied, 0, memory, JAVA_FLOAT, 0, copied.length);
        values = memory.asReadOnly();
    }

    /**
     * A code book of one's own: 16 or 256 finite values in ascending order, equal ones allowed.
     *
     * @throws IllegalArgumentException for other values
     */
    public static CodeBook of(float... values) {
        Check.present("values", values);
        if (values.length != 16 && values.length != 256) {
            throw Check.invalid("values", values.length + " values", "16 or 256");
        }
        float[] copy = values.clone();
        for (int i = 0; i < copy.length; i++) {
            if (Float.isNaN(copy[i]) || Float.isInfinite(copy[i]) || i > 0 && copy[i] < copy[i - 1]) {
                throw Check.invalid(
                        "values[" + i + "]",
                        copy[i],
                        "a finite value" + (i > 0 ? ", not below its predecessor " + copy[i - 1] : ""));
            }
        }
        return new CodeBook(copy);
    }

    /** The book of a {@code gatun_book} but for GATUN_BOOK_GIVEN; null for none. */
    static CodeBook ofNumber(int number) {
        if (number == 0) {
            return null;
        }
        for (CodeBook book : new CodeBook[] {NF4, FP4, DYNAMIC, DYNAMIC_UNSIGNED, LINEAR, LINEAR_UNSIGNED}) {
            if (book.number == number) {
                return book;
            }
        }
        throw new IllegalStateException("packed: code book " + number + " is unknown to this version");
    }

    /** The {@code gatun_book}. */
    int number() {
        return number;
    }

    /** The values as the C functions take them: null unless given. */
    MemorySegment segment() {
        return values == null ? MemorySegment.NULL : values;
    }

    /** Bits of a code: 4 or 8. */
    public int bits() {
        return bits;
    }

    /** The values of all codes, in a new array of 16 or 256. */
    public float[] values() {
        if (values != null) {
            return values.toArray(JAVA_FLOAT);
        }
        NativeLibrary.load();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(JAVA_FLOAT, 1 << bits);
            Native.call(() -> gatun_code_book(number, memory));
            return memory.toArray(JAVA_FLOAT);
        }
    }

    /** Whether both are the same named book, or given ones of equal values. */
    @Override
    public boolean equals(Object other) {
        return other instanceof CodeBook book
                && number == book.number
                && (values == null || Arrays.equals(values(), book.values()));
    }

    @Override
    public int hashCode() {
        return values == null ? number : Arrays.hashCode(values());
    }

    /** The name: {@code nf4}, or {@code given}. */
    @Override
    public String toString() {
        return name;
    }
}
