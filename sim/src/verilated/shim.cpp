// The C interface of a verilated design, the same for all of them. `Vtop.h` is Verilator's;
// `ports.h` has a line PORT(name) for each port and defines CLOCK where there is one.

#include "Vtop.h"
#include "ports.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using Tracer = VerilatedFstC;
#elif VM_TRACE_VCD
#include "verilated_vcd_c.h"
using Tracer = VerilatedVcdC;
#endif

namespace {

struct Model {
    VerilatedContext context;
    Vtop top{&context};
#if VM_TRACE
    Tracer tracer;
    bool attached = false;
#endif

    void eval() {
        top.eval();
#if VM_TRACE
        if (tracer.isOpen()) tracer.dump(context.time());
#endif
        context.timeInc(1);
    }

    // Inputs settle while the clock is low, registers take them as it rises.
    void tick() {
#ifdef CLOCK
        top.CLOCK = 0;
        eval();
        top.CLOCK = 1;
#endif
        eval();
    }

    template <typename T>
    uint64_t run_until(const T& port, uint64_t value, uint64_t limit) {
        uint64_t cycles = 0;
        while (port != value) {
            if (cycles == limit) return UINT64_MAX;
            tick();
            ++cycles;
        }
        return cycles;
    }
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Model* annulus_new() {
    Model* model = new Model;
#if VM_TRACE
    model->context.traceEverOn(true);
#endif
    model->top.eval();
    return model;
}

EXPORT void annulus_free(Model* model) {
#if VM_TRACE
    model->tracer.close();
#endif
    model->top.final();
    delete model;
}

// Writes the address of every port, in the order of the header.
EXPORT void annulus_ports(Model* model, void** addresses) {
#define PORT(name) *addresses++ = &model->top.name;
    PORTS
#undef PORT
}

EXPORT void annulus_eval(Model* model) { model->eval(); }

EXPORT void annulus_run(Model* model, uint64_t cycles) {
    while (cycles--) model->tick();
}

// The cycles until the port of `bytes` bytes has the value, or UINT64_MAX past the limit.
EXPORT uint64_t annulus_run_until(Model* model, const void* port, uint32_t bytes, uint64_t value, uint64_t limit) {
    switch (bytes) {
        case 1: return model->run_until(*static_cast<const uint8_t*>(port), value, limit);
        case 2: return model->run_until(*static_cast<const uint16_t*>(port), value, limit);
        case 4: return model->run_until(*static_cast<const uint32_t*>(port), value, limit);
        default: return model->run_until(*static_cast<const uint64_t*>(port), value, limit);
    }
}

EXPORT void annulus_trace_open(Model* model, const char* path) {
#if VM_TRACE
    model->tracer.close();
    if (!model->attached) {
        model->top.trace(&model->tracer, 99);
        model->attached = true;
    }
    model->tracer.open(path);
#endif
}

EXPORT void annulus_trace_close(Model* model) {
#if VM_TRACE
    model->tracer.close();
#endif
}

EXPORT void annulus_coverage(Model* model, const char* path) {
#if VM_COVERAGE
    model->context.coveragep()->write(path);
#endif
}
