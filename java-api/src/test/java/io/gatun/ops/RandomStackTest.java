package io.gatun.ops;

import static io.gatun.ops.RandomArguments.flipBit;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.ops.RandomCalls.Call;
import io.gatun.ops.RandomCalls.Outcome;
import io.gatun.ops.RandomProduct.Form;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Random calls of the products with several weights, and random bytes as stacks. */
class RandomStackTest {
    @Test
    void concat() {
        RandomCalls.run("qmatmul side by side", random -> new RandomProduct(random, Form.SIDE_BY_SIDE).call());
    }

    @Test
    void grouped() {
        RandomCalls.run("qmatmul by rows", random -> new RandomProduct(random, Form.BY_ROWS).call());
    }

    /** Stacks cut short, with flipped bytes in a header, or as they are: refused, or as they were. */
    @Test
    void stacks() {
        RandomCalls.run("stacks", random -> {
            int depth = random.between(1, 70);
            List<QuantizedTensor> weights =
                    RandomProduct.weights(random, RandomArguments.spec(random, depth), random.between(1, 4), depth, -1);
            PackedStack good = PackedStack.pack(weights);
            long bytes = good.segment().byteSize();
            MemorySegment copy = Arena.ofAuto().allocate(bytes, 64).copyFrom(good.segment());
            int count = good.size();
            Outcome right = Outcome.ACCEPTED;
            String what = good.toString();
            switch (random.between(0, 5)) {
                case 0 -> {
                    copy = copy.asSlice(0, random.source.nextLong(bytes));
                    right = Outcome.REFUSED;
                    what += " in " + copy.byteSize() + " bytes";
                }
                case 1 -> {
                    count = random.of(0, -1, Integer.MIN_VALUE, Integer.MAX_VALUE, count + 1);
                    right = Outcome.REFUSED;
                    what += " as " + count;
                }
                case 2, 3 -> {
                    int which = random.between(0, count - 1);
                    long at =
                            good.get(which).segment().address() - good.segment().address();
                    what += flipBit(random, copy, at);
                    right = Outcome.EITHER;
                }
                default -> {}
            }
            MemorySegment given = copy;
            int number = count;
            String context = what;
            boolean same = right == Outcome.ACCEPTED;
            return new Call(
                    context,
                    right,
                    () -> PackedStack.wrap(given, number),
                    () -> {
                        PackedStack stack = PackedStack.wrap(given, number);
                        if (stack.depth() == depth && stack.columns() < 100) { // weights of no columns have any depth
                            Guarded y = Guarded.matrix(DType.F32, 2, stack.columns());
                            QMatmul.run(Tensor.of(random.normal(2 * depth, 1), 2, depth), stack, y.tensor);
                            assertTrue(y.unchangedOutside(0, stack.columns()), context);
                        }
                        for (int i = 0; i < number && same; i++) {
                            QuantizeTest.assertSameBytes(
                                    weights.get(i).codes(),
                                    stack.get(i).unpack().codes());
                        }
                    },
                    () -> true);
        });
    }
}
