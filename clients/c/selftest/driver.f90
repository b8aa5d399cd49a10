! SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
!
! Runs a job of the self-test at constant energy and writes what came of it.
!
!     selftest_fortran JOB TRACE
!
! The formats of job and trace are those of driver.c.
program selftest
    use, intrinsic :: iso_c_binding, only: c_double
    use, intrinsic :: iso_fortran_env, only: error_unit
    use posterion
    implicit none

    !> eV/Angstrom on one atomic mass unit, in Angstrom/fs**2 (CODATA 2014, as ASE).
    real(c_double), parameter :: acceleration = 1.6021766208e-19_c_double &
        / 1.660539040e-27_c_double * 1e-10_c_double
    character(len=512) :: path, url
    character(len=256) :: model, digest
    integer :: bits, i, job, n, n_steps, periodic, status, step, trace
    real(c_double) :: budget_s, cell(3, 3), timestep_fs
    integer, allocatable :: numbers(:)
    real(c_double), allocatable :: masses(:, :), positions(:, :), velocities(:, :), forces(:, :), &
        first_forces(:, :)
    type(posterion_session) :: service
    type(posterion_options) :: options
    type(posterion_result) :: found, start

    job = 10
    trace = 11
    call get_command_argument(1, path)
    open (unit=job, file=trim(path), status="old", action="read")
    read (job, "(a)") url
    read (job, "(a)") model
    read (job, "(a)") digest
    read (job, *) bits, budget_s, n, n_steps, timestep_fs, periodic, options%transport
    read (job, *) cell
    allocate (numbers(n), masses(3, n), positions(3, n), velocities(3, n), forces(3, n), &
        first_forces(3, n))
    do i = 1, n
        read (job, *) numbers(i), masses(1, i), positions(:, i), velocities(:, i)
        masses(:, i) = masses(1, i)
    end do
    close (job)

    if (model /= "-") options%model = model
    if (digest /= "-") options%digest = digest
    options%double_precision = bits == 64
    options%retry_budget_s = budget_s
    call service%open(trim(url), numbers, status, pbc=spread(periodic /= 0, 1, 3), options=options)
    if (status /= posterion_ok) call fail()
    call evaluate()
    start = found
    first_forces = forces
    call get_command_argument(2, path)
    open (unit=trace, file=trim(path), status="replace", action="write")
    do step = 0, n_steps
        if (step > 0) then
            call kick()
            positions = positions + timestep_fs * velocities
            call evaluate()
            call kick()
        end if
        write (trace, "(2es26.17e3)") found%energy, &
            found%energy + 0.5_c_double * sum(masses * velocities**2) / acceleration
    end do
    write (trace, "(3es26.17e3)") first_forces
    write (trace, "(3es26.17e3)") positions
    write (trace, "(3es26.17e3)") start%stress
    write (trace, "(es26.17e3, 1x, i0)") start%force_max, service%n_answers()
    close (trace)
    call service%close()
    deallocate (numbers, masses, positions, velocities, forces, first_forces)

contains

    subroutine kick()
        velocities = velocities + 0.5_c_double * timestep_fs * acceleration * forces / masses
    end subroutine kick

    subroutine evaluate()
        call service%evaluate(positions, forces, found, status, cell=cell)
        if (status /= posterion_ok) call fail()
    end subroutine evaluate

    subroutine fail()
        write (error_unit, "(2a)") "selftest: ", service%message()
        stop 1
    end subroutine fail

end program selftest
