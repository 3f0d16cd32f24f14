package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class GatunContenderTest {
    @Test
    void goesThroughAllCopiesInTurn() {
        List<Integer> calls = new ArrayList<>();
        Arena arena = Arena.ofShared();
        Tensor y = Tensor.allocate(arena, DType.F32, 1, 1);
        try (Contender contender = new GatunContender("", "kernel: why", "all", arena, y, 3, calls::add)) {
            for (int call = 0; call < 7; call++) {
                contender.run();
            }
            assertEquals(List.of(0, 1, 2, 0, 1, 2, 0), calls);
            contender.output(2, new float[1]);
            assertEquals(2, calls.getLast());
            assertEquals("kernel", contender.kernel());
        }
    }
}
