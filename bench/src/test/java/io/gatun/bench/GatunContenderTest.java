package io.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.gatun.DType;
import io.gatun.Gatun;
import io.gatun.Tensor;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class GatunContenderTest {
    @Test
    void callsAndReadsOutputs() {
        List<Integer> calls = new ArrayList<>();
        Arena arena = Arena.ofShared();
        Tensor y = Tensor.allocate(arena, DType.F32, 1, 1);
        try (Contender contender = new GatunContender("", "kernel: why", "all", arena::close, y, 3, copy -> {
            calls.add(copy);
            y.setFloat(copy, 0, 0);
        })) {
            for (int call = 0; call < 4; call++) {
                contender.run();
            }
            assertEquals(List.of(0, 1, 2, 0), calls);
            float[] output = new float[1];
            contender.output(2, output);
            assertEquals(2, output[0]);
            assertEquals("gatun " + Gatun.version(), contender.impl());
            assertEquals("all", contender.timed());
            assertEquals(3, contender.copies());
            assertEquals("kernel", contender.kernel());
        }
    }
}
