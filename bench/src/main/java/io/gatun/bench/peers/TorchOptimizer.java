package io.gatun.bench.peers;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.gatun.DType;
import io.gatun.Tensor;
import io.gatun.bench.Contender;
import io.gatun.bench.OptimizerCase;
import io.gatun.bench.OptimizerCase.Kind;
import io.gatun.bench.OptimizerData;
import io.gatun.bench.OptimizerPeer;
import io.gatun.bench.RotatingContender;
import io.gatun.ops.Optimizer.Rule;
import io.gatun.ops.Optimizer.State;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/**
 * libtorch's fused steps, which keep f32 state: {@code _fused_adam_}, {@code _fused_sgd_} with momentum, {@code
 * _fused_adagrad_}. It has no Lion; momentum moves the same bytes.
 *
 * <p>Its C functions for compiled models have none of them. These are the C++ functions behind {@code torch.ops.aten}: a
 * list is a pointer and a length, a tensor in it a pointer, and so is what a tensor of the C functions points to.
 */
final class TorchOptimizer implements OptimizerPeer {
    private static final GroupLayout LIST = MemoryLayout.structLayout(ADDRESS, JAVA_LONG);

    /** {@code std::optional<Tensor>}: room for one, and whether it is there, with padding. */
    private static final GroupLayout OPTIONAL = MemoryLayout.structLayout(ADDRESS, JAVA_LONG);

    private final Torch torch;
    private final MethodHandle adam;
    private final MethodHandle momentum;
    private final MethodHandle adagrad;

    TorchOptimizer() throws IOException {
        torch = new Torch();
        // p, g, m, v, largest v, step; lr, b1, b2, wd, epsilon; largest v, maximize; scale of gradients, found infinity
        adam = operation("_fused_adam_", 6, 5, 2);
        // p, g, m; wd, momentum, lr, dampening; Nesterov, maximize, first step; as above
        momentum = operation("_fused_sgd_", 3, 4, 3);
        // p, g, squares, step; lr, decay of lr, wd, epsilon; maximize; as above
        adagrad = operation("_fused_adagrad_", 4, 4, 1);
    }

    /** {@code at::_ops::<name>::call} of lists of tensors, doubles, flags and two tensors that may be missing. */
    private MethodHandle operation(String name, int lists, int doubles, int flags) {
        String symbol = "_ZN2at4_ops" + name.length() + name + "4callEN3c108ArrayRefINS_6TensorEEE"
                + "S5_".repeat(lists - 1) + "d".repeat(doubles) + "b".repeat(flags) + "RKSt8optionalIS4_ES9_";
        List<MemoryLayout> arguments = new ArrayList<>();
        arguments.addAll(Collections.nCopies(lists, LIST));
        arguments.addAll(Collections.nCopies(doubles, JAVA_DOUBLE));
        arguments.addAll(Collections.nCopies(flags, JAVA_BOOLEAN));
        arguments.addAll(Collections.nCopies(2, ADDRESS));
        return torch.operation(symbol, arguments.toArray(MemoryLayout[]::new));
    }

    @Override
    public String name() {
        return "libtorch";
    }

    @Override
    public String version() {
        return torch.version();
    }

    @Override
    public Optional<OptimizerCase> nearest(OptimizerCase problem) {
        Kind kind = problem.kind();
        if (kind.dtype() != DType.F32 || kind.weightDecay() != 0) {
            return Optional.empty();
        }
        return switch (kind.rule()) {
            case ADAM, MOMENTUM, ADAGRAD -> own(problem, kind.rule(), kind.learningRate());
            case LION -> own(problem, Rule.MOMENTUM, 0.1f);
            case ADEMAMIX, RMSPROP, LAMB, LARS -> Optional.empty();
        };
    }

    private static Optional<OptimizerCase> own(OptimizerCase problem, Rule rule, float learningRate) {
        Kind kind = new Kind(rule, State.F32, DType.F32, learningRate, 0);
        return Optional.of(new OptimizerCase(kind, problem.count(), problem.threads()));
    }

    @Override
    public Contender prepare(OptimizerCase problem) {
        Torch.Scope scope = torch.new Scope();
        try {
            return new Steps(scope, problem);
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
    }

    /** The steps of a case. */
    private final class Steps extends RotatingContender {
        private final Torch.Scope scope;
        private final OptimizerCase problem;
        private final Tensor p;
        private final MemorySegment parameters;
        private final MemorySegment gradients;
        private final MemorySegment state1;
        private final MemorySegment state2;
        private final MemorySegment none;
        private final MemorySegment stepNumber;
        private final MemorySegment step;
        private final MemorySegment noTensor;

        Steps(Torch.Scope scope, OptimizerCase problem) {
            super(
                    TorchOptimizer.this.name() + " " + version(),
                    nameOf(problem.kind().rule()),
                    "a step on f32 state",
                    1);
            this.scope = scope;
            this.problem = problem;
            Arena arena = scope.arena();
            p = tensor();
            Tensor g = tensor();
            OptimizerData.fillParameters(p);
            OptimizerData.fillGradients(g, 1);
            parameters = list(p);
            gradients = list(g);
            state1 = list(tensor());
            state2 = problem.kind().rule() == Rule.ADAM ? list(tensor()) : null;
            none = arena.allocate(LIST);
            stepNumber = arena.allocate(JAVA_FLOAT);
            step = list(scope.tensor(stepNumber, Torch.F32));
            noTensor = arena.allocate(OPTIONAL);
            call(0);
            OptimizerData.fillGradients(g, 2);
        }

        private Tensor tensor() {
            return OptimizerData.allocate(scope.arena(), DType.F32, problem.count());
        }

        private MemorySegment list(Tensor tensor) {
            return list(scope.tensor(tensor.segment(), Torch.F32, problem.count()));
        }

        /** Of one tensor; a list of C++ refers to the tensor object that a tensor of C points to. */
        private MemorySegment list(MemorySegment tensor) {
            MemorySegment list = scope.arena().allocate(LIST);
            list.set(ADDRESS, 0, tensor);
            list.set(JAVA_LONG, ADDRESS.byteSize(), 1);
            return list;
        }

        @Override
        protected void call(int copy) {
            torch.enter(problem.threads());
            float number = stepNumber.get(JAVA_FLOAT, 0) + 1;
            stepNumber.set(JAVA_FLOAT, 0, number);
            Kind kind = problem.kind();
            double lr = kind.learningRate();
            double b1 = kind.beta1();
            double b2 = kind.beta2();
            double epsilon = kind.epsilon();
            try {
                switch (kind.rule()) {
                    case ADAM ->
                        adam.invokeExact(
                                parameters,
                                gradients,
                                state1,
                                state2,
                                none,
                                step,
                                lr,
                                b1,
                                b2,
                                0.0,
                                epsilon,
                                false,
                                false,
                                noTensor,
                                noTensor);
                    case MOMENTUM ->
                        momentum.invokeExact(
                                parameters,
                                gradients,
                                state1,
                                0.0,
                                b1,
                                lr,
                                0.0,
                                false,
                                false,
                                number == 1,
                                noTensor,
                                noTensor);
                    case ADAGRAD ->
                        adagrad.invokeExact(
                                parameters, gradients, state1, step, lr, 0.0, 0.0, epsilon, false, noTensor, noTensor);
                    default -> throw new IllegalArgumentException("no step of " + kind.rule());
                }
            } catch (Throwable e) {
                throw NativeCode.failure(e);
            }
        }

        @Override
        protected void result(float[] values) {
            MemorySegment.copy(p.segment(), JAVA_FLOAT, 0, values, 0, values.length);
        }

        @Override
        public void close() {
            scope.close();
        }
    }

    private static String nameOf(Rule rule) {
        return switch (rule) {
            case ADAM -> "_fused_adam_";
            case MOMENTUM -> "_fused_sgd_ with momentum";
            case ADAGRAD -> "_fused_adagrad_";
            default -> throw new IllegalArgumentException("no step of " + rule);
        };
    }
}
