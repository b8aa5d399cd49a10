! SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
!
! Ethanol at constant energy, by velocity Verlet: prints potential, kinetic and total energy of
! every step in eV.
!
!     nve_fortran [URL [STEPS]]
program nve
    use, intrinsic :: iso_c_binding, only: c_double
    use, intrinsic :: iso_fortran_env, only: error_unit
    use posterion
    implicit none

    integer, parameter :: n = 9
    !> eV/Angstrom on one atomic mass unit, in Angstrom/fs**2 (CODATA 2014, as ASE).
    real(c_double), parameter :: acceleration = 1.6021766208e-19_c_double &
        / 1.660539040e-27_c_double * 1e-10_c_double
    real(c_double), parameter :: timestep_fs = 0.5_c_double
    integer, parameter :: numbers(n) = [6, 6, 8, 1, 1, 1, 1, 1, 1]
    real(c_double) :: positions(3, n) = reshape([ &
        1.168181_c_double, -0.397382_c_double, 0.0_c_double, &
        0.0_c_double, 0.559462_c_double, 0.0_c_double, &
        -1.190083_c_double, -0.191023_c_double, 0.0_c_double, &
        -1.946623_c_double, 0.381525_c_double, 0.0_c_double, &
        0.042557_c_double, 1.207508_c_double, 0.886933_c_double, &
        0.042557_c_double, 1.207508_c_double, -0.886933_c_double, &
        2.115891_c_double, 0.1448_c_double, 0.0_c_double, &
        1.128599_c_double, -1.037234_c_double, 0.885881_c_double, &
        1.128599_c_double, -1.037234_c_double, -0.885881_c_double], [3, n])
    real(c_double) :: forces(3, n), velocities(3, n), masses(3, n)
    type(posterion_session) :: service
    type(posterion_options) :: options
    type(posterion_result) :: found
    character(len=256) :: url, argument
    integer :: i, n_steps, status, step

    do i = 1, n
        masses(:, i) = mass_of(numbers(i))
    end do
    velocities = 0.0_c_double
    call get_command_argument(1, url)
    call get_command_argument(2, argument)
    n_steps = 200
    if (len_trim(argument) > 0) read (argument, *) n_steps

    options%double_precision = .true.
    options%retry_budget_s = 30.0_c_double
    call service%open(trim(url), numbers, status, options=options)
    if (status /= posterion_ok) call fail()
    call service%evaluate(positions, forces, found, status)
    if (status /= posterion_ok) call fail()
    call report(0)
    do step = 1, n_steps
        velocities = velocities + 0.5_c_double * timestep_fs * acceleration * forces / masses
        positions = positions + timestep_fs * velocities
        call service%evaluate(positions, forces, found, status)
        if (status /= posterion_ok) call fail()
        velocities = velocities + 0.5_c_double * timestep_fs * acceleration * forces / masses
        call report(step)
        if (found%failed_flags /= 0) &
            write (error_unit, "(a, i0, a)") "step ", step, ": do not trust it"
    end do
    call service%close()

contains

    pure function mass_of(number) result(mass)
        integer, intent(in) :: number
        real(c_double) :: mass

        mass = 15.999_c_double
        if (number == 1) mass = 1.008_c_double
        if (number == 6) mass = 12.011_c_double
    end function mass_of

    subroutine report(at)
        integer, intent(in) :: at
        real(c_double) :: kinetic

        kinetic = sum(0.5_c_double * masses * velocities**2) / acceleration
        print "(i6, 3es26.17e3)", at, found%energy, kinetic, found%energy + kinetic
    end subroutine report

    subroutine fail()
        write (error_unit, "(2a)") "posterion: ", service%message()
        stop 1
    end subroutine fail

end program nve
