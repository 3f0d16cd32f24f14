package io.gatun.ops;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.internal.Check;
import io.gatun.internal.Native;
import java.util.EnumSet;
import java.util.Set;

/**
 * A tensor that an {@link Optimizer} trains, with its gradient. Immutable; the numbers are not: the backward pass writes the
 * gradient, {@link Optimizer#step()} the value.
 *
 * @param name names state in messages and files; unique in an optimizer
 * @param value f32, f16 or bf16 of any shape, contiguous and writable
 * @param gradient of the dtype and shape of the value, contiguous, memory of its own on the device of the value
 * @param fullPrecisionState whether state stays f32 whatever the optimizer's is, as that of embeddings should
 */
public record Parameter(String name, Tensor value, Tensor gradient, boolean fullPrecisionState) {
    private static final Set<DType> FLOATS = EnumSet.of(DType.F32, DType.F16, DType.BF16);

    /** Refuses what no optimizer can take. */
    public Parameter {
        Check.present("name", name);
        if (name.isEmpty()) {
            throw Check.invalid("name", "an empty text", "a name");
        }
        Check.present("value", value);
        Check.dtype("value", value, FLOATS);
        Check.contiguous("value", value);
        Check.writable("value", value);
        Check.present("gradient", gradient);
        if (gradient.dtype() != value.dtype() || !gradient.shape().equals(value.shape()) || !gradient.isContiguous()) {
            throw Check.invalid("gradient", gradient.describe(), value.describe() + ", as the value is");
        }
        Check.device("gradient", gradient, "value", value.device());
        Check.disjoint("gradient", gradient, "value", value);
    }

    /**
     * With a gradient of zeros on the device of the value, in memory that is freed when nothing refers to it any more.
     * Such memory of the CPU counts against {@code -XX:MaxDirectMemorySize}, by default the size of the heap.
     */
    public static Parameter of(String name, Tensor value) {
        Check.present("value", value);
        Check.dtype("value", value, FLOATS);
        Tensor gradient = value.device().allocate(value.dtype(), value.shape().toArray());
        Native.preferHugePages(gradient);
        return of(name, value, gradient);
    }

    /** With a gradient that something else writes. */
    public static Parameter of(String name, Tensor value, Tensor gradient) {
        return new Parameter(name, value, gradient, false);
    }

    /**
     * The same with f32 state whatever the optimizer's is: for embeddings and whatever else has sparse gradients. Where a
     * gradient becomes 0 and state is far below its block's largest, the mean of squares of Adam falls to code 0 before the
     * mean does, and without its divisor a step may be large.
     */
    public Parameter withFullPrecisionState() {
        return new Parameter(name, value, gradient, true);
    }

    /** Name and value: {@code w bf16[768, 768]}. */
    @Override
    public String toString() {
        return name + " " + value.describe();
    }
}
