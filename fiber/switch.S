/* SPDX-License-Identifier: MIT */
/* fiber_switch for x86-64 (System V) and aarch64 (AAPCS64): what the ABI calls callee-saved goes on
 * the stack, so a saved context is one stack pointer. switch_frame.c knows the same layout. */

    .text

#if defined(__x86_64__)

    /* void fiber_switch(void **save: rdi, void *to: rsi) */
    .globl fiber_switch
    .hidden fiber_switch
    .type fiber_switch, @function
    .p2align 4
fiber_switch:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    movq %rsp, (%rdi)
    movq %rsi, %rsp /* both stacks hold the same frame here, so the CFI stays true */
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    popq %rcx /* a ret would be mispredicted every time */
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rcx
    jmpq *%rcx
    .cfi_endproc
    .size fiber_switch, . - fiber_switch

    /* The beginning of a new stack: calls r12(r13), which does not return. */
    .globl fiber_switch_start
    .hidden fiber_switch_start
    .type fiber_switch_start, @function
    .p2align 4
fiber_switch_start:
    .cfi_startproc
    .cfi_undefined %rip /* unwinders stop here */
    movq %r13, %rdi
    callq *%r12
    ud2
    .cfi_endproc
    .size fiber_switch_start, . - fiber_switch_start

#elif defined(__aarch64__)

    /* void fiber_switch(void **save: x0, void *to: x1) */
    .globl fiber_switch
    .hidden fiber_switch
    .type fiber_switch, %function
    .p2align 4
fiber_switch:
    .cfi_startproc
    sub sp, sp, #160
    .cfi_def_cfa_offset 160
    stp x19, x20, [sp, #0]
    .cfi_offset x19, -160
    .cfi_offset x20, -152
    stp x21, x22, [sp, #16]
    .cfi_offset x21, -144
    .cfi_offset x22, -136
    stp x23, x24, [sp, #32]
    .cfi_offset x23, -128
    .cfi_offset x24, -120
    stp x25, x26, [sp, #48]
    .cfi_offset x25, -112
    .cfi_offset x26, -104
    stp x27, x28, [sp, #64]
    .cfi_offset x27, -96
    .cfi_offset x28, -88
    stp x29, x30, [sp, #80]
    .cfi_offset x29, -80
    .cfi_offset x30, -72
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mov x9, sp
    str x9, [x0]
    mov sp, x1 /* both stacks hold the same frame here, so the CFI stays true */
    ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #160
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size fiber_switch, . - fiber_switch

    /* The beginning of a new stack: calls x19(x20), which does not return. */
    .globl fiber_switch_start
    .hidden fiber_switch_start
    .type fiber_switch_start, %function
    .p2align 4
fiber_switch_start:
    .cfi_startproc
    .cfi_undefined x30 /* unwinders stop here */
    mov x0, x20
    blr x19
    brk #0
    .cfi_endproc
    .size fiber_switch_start, . - fiber_switch_start

#else
#error "no fiber switch for this machine: configure with -Dfiber_switch=ucontext"
#endif

    .section .note.GNU-stack, "", %progbits
