! SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
!
! Energies, forces and uncertainty of a Posterion service, for codes in Fortran 2003.
!
! Units are Angstrom, eV, eV/Angstrom and eV/Angstrom^3. positions(:, i) is atom i, and
! cell(:, i) is lattice vector i. Everything else is explained in posterion.h.
module posterion
    use, intrinsic :: iso_c_binding, only: c_char, c_double, c_funptr, c_int, c_int32_t, &
        c_int64_t, c_null_char, c_null_funptr, c_null_ptr, c_ptr, c_associated, c_f_pointer, &
        c_loc, c_size_t
    implicit none
    private

    public :: posterion_session, posterion_options, posterion_result
    public :: posterion_atomic_number, posterion_status_name

    !> What a call came to; see posterion_status in posterion.h.
    integer, parameter, public :: posterion_ok = 0, posterion_invalid_argument = 1, &
        posterion_out_of_memory = 2, posterion_connection_failed = 3, posterion_timed_out = 4, &
        posterion_invalid_reply = 5, posterion_bad_structure = 6, posterion_non_finite = 7, &
        posterion_model_changed = 8, posterion_refused = 9, posterion_unavailable = 10

    !> How questions reach the service.
    integer, parameter, public :: posterion_auto = 0, posterion_http = 1, posterion_websocket = 2

    !> Bits of candidate_flags and failed_flags; test them with iand.
    integer(c_int32_t), parameter, public :: posterion_force_epistemic_high = 1, &
        posterion_energy_epistemic_high = 2, posterion_latent_density_low = 4, &
        posterion_close_contact = 8, posterion_isolated_atom = 16, posterion_composition_unseen = 32

    integer, parameter :: text = 256

    !> Settings; an empty text means that nothing is set.
    type :: posterion_options
        character(len=text) :: model = ""
        character(len=text) :: version = ""
        character(len=text) :: digest = ""
        character(len=3 * text) :: authorization = ""
        logical :: double_precision = .false.
        !> 1 = wanted, 0 = not, -1 = if all directions are periodic.
        integer :: stress = -1
        logical :: uncertainty = .true.
        integer :: n_samples = 0
        !> posterion_auto, posterion_http or posterion_websocket.
        integer :: transport = posterion_auto
        integer :: charge = 0
        integer :: spin_multiplicity = 1
        real(c_double) :: connect_timeout_s = 5.0_c_double
        real(c_double) :: timeout_s = 60.0_c_double
        real(c_double) :: retry_budget_s = 600.0_c_double
    end type posterion_options

    !> What the service says about one structure; what was not asked for is NaN.
    type, bind(c) :: posterion_result
        real(c_double) :: energy
        real(c_double) :: stress(3, 3)
        real(c_double) :: energy_epistemic
        real(c_double) :: energy_total
        real(c_double) :: force_max
        real(c_double) :: force_rms
        integer(c_int32_t) :: candidate_flags
        integer(c_int32_t) :: failed_flags
        integer(c_int32_t) :: n_samples
    end type posterion_result

    !> One service and one set of atoms. Close it; do not copy it.
    type :: posterion_session
        private
        type(c_ptr) :: handle = c_null_ptr
    contains
        procedure :: open => open_session
        procedure :: evaluate => evaluate_session
        procedure :: close => close_session
        procedure :: message => message_of
        procedure :: code => code_of
        procedure :: model => model_of
        procedure :: digest => digest_of
        procedure :: n_answers => n_answers_of
    end type posterion_session

    !> posterion_options of posterion.h.
    type, bind(c) :: c_options
        type(c_ptr) :: model, version, digest, authorization
        integer(c_int) :: double_precision, stress, uncertainty, n_samples, transport, charge, &
            spin_multiplicity
        real(c_double) :: connect_timeout_s, timeout_s, retry_budget_s
        type(c_funptr) :: notice
        type(c_ptr) :: notice_context
    end type c_options

    interface
        function c_open(handle, url, n_atoms, numbers, pbc, options) &
            bind(c, name="posterion_open") result(status)
            import :: c_char, c_int, c_options, c_ptr
            type(c_ptr), intent(out) :: handle
            character(kind=c_char), intent(in) :: url(*)
            integer(c_int), value :: n_atoms
            integer(c_int), intent(in) :: numbers(*), pbc(3)
            type(c_options), intent(in) :: options
            integer(c_int) :: status
        end function c_open

        function c_evaluate(handle, n_atoms, positions, cell, forces, force_epistemic, found) &
            bind(c, name="posterion_evaluate") result(status)
            import :: c_double, c_int, c_ptr, posterion_result
            type(c_ptr), value :: handle, cell
            integer(c_int), value :: n_atoms
            real(c_double), intent(in) :: positions(*)
            real(c_double), intent(inout) :: forces(*), force_epistemic(*)
            type(posterion_result), intent(inout) :: found
            integer(c_int) :: status
        end function c_evaluate

        subroutine c_close(handle) bind(c, name="posterion_close")
            import :: c_ptr
            type(c_ptr), value :: handle
        end subroutine c_close

        function c_message(handle) bind(c, name="posterion_message") result(found)
            import :: c_ptr
            type(c_ptr), value :: handle
            type(c_ptr) :: found
        end function c_message

        function c_code(handle) bind(c, name="posterion_code") result(found)
            import :: c_ptr
            type(c_ptr), value :: handle
            type(c_ptr) :: found
        end function c_code

        function c_model(handle) bind(c, name="posterion_model") result(found)
            import :: c_ptr
            type(c_ptr), value :: handle
            type(c_ptr) :: found
        end function c_model

        function c_digest(handle) bind(c, name="posterion_digest") result(found)
            import :: c_ptr
            type(c_ptr), value :: handle
            type(c_ptr) :: found
        end function c_digest

        function c_n_answers(handle) bind(c, name="posterion_n_answers") result(found)
            import :: c_int64_t, c_ptr
            type(c_ptr), value :: handle
            integer(c_int64_t) :: found
        end function c_n_answers

        function c_atomic_number(symbol) bind(c, name="posterion_atomic_number") result(found)
            import :: c_char, c_int
            character(kind=c_char), intent(in) :: symbol(*)
            integer(c_int) :: found
        end function c_atomic_number

        function c_status_name(status) bind(c, name="posterion_status_name") result(found)
            import :: c_int, c_ptr
            integer(c_int), value :: status
            type(c_ptr) :: found
        end function c_status_name

        function c_length(found) bind(c, name="strlen") result(length)
            import :: c_ptr, c_size_t
            type(c_ptr), value :: found
            integer(c_size_t) :: length
        end function c_length
    end interface

contains

    !> Prepare to ask about some atoms; nothing is sent yet.
    !!
    !! url: address of the service; empty = POSTERION_URL, then http://127.0.0.1:8000.
    !! numbers: atomic numbers.
    !! status: posterion_ok, or why not; message() says it in words.
    !! pbc: periodic directions; absent = none.
    !! options: absent = the defaults.
    subroutine open_session(self, url, numbers, status, pbc, options)
        class(posterion_session), intent(inout) :: self
        character(len=*), intent(in) :: url
        integer, intent(in) :: numbers(:)
        integer, intent(out) :: status
        logical, intent(in), optional :: pbc(3)
        type(posterion_options), intent(in), optional :: options
        type(posterion_options) :: wanted
        type(c_options) :: given
        integer(c_int) :: periodic(3)
        character(kind=c_char), target :: model(text + 1), version(text + 1), digest(text + 1), &
            authorization(3 * text + 1)

        if (present(options)) wanted = options
        periodic = 0
        if (present(pbc)) where (pbc) periodic = 1
        given%model = c_text(wanted%model, model)
        given%version = c_text(wanted%version, version)
        given%digest = c_text(wanted%digest, digest)
        given%authorization = c_text(wanted%authorization, authorization)
        given%double_precision = merge(1_c_int, 0_c_int, wanted%double_precision)
        given%stress = int(wanted%stress, c_int)
        given%uncertainty = merge(1_c_int, 0_c_int, wanted%uncertainty)
        given%n_samples = int(wanted%n_samples, c_int)
        given%transport = int(wanted%transport, c_int)
        given%charge = int(wanted%charge, c_int)
        given%spin_multiplicity = int(wanted%spin_multiplicity, c_int)
        given%connect_timeout_s = wanted%connect_timeout_s
        given%timeout_s = wanted%timeout_s
        given%retry_budget_s = wanted%retry_budget_s
        given%notice = c_null_funptr
        given%notice_context = c_null_ptr
        call self%close()
        status = int(c_open(self%handle, trim(url) // c_null_char, size(numbers, kind=c_int), &
            int(numbers, c_int), periodic, given))
    end subroutine open_session

    !> Ask about the atoms at some positions.
    !!
    !! positions: shape (3, n_atoms).
    !! forces: the same shape; unchanged unless the status is posterion_ok, as is all else.
    !! found: energy, stress, uncertainty, flags.
    !! status: posterion_ok, or why not; message() says it in words.
    !! cell: lattice vector i in cell(:, i); needed where a direction is periodic.
    !! force_epistemic: standard deviation of the force on each atom, shape (n_atoms).
    subroutine evaluate_session(self, positions, forces, found, status, cell, force_epistemic)
        class(posterion_session), intent(in) :: self
        real(c_double), intent(in) :: positions(:, :)
        real(c_double), intent(inout) :: forces(:, :)
        type(posterion_result), intent(inout) :: found
        integer, intent(out) :: status
        real(c_double), intent(in), optional :: cell(3, 3)
        real(c_double), intent(inout), optional :: force_epistemic(:)
        real(c_double), target :: vectors(9)
        real(c_double), allocatable :: spread(:)
        type(c_ptr) :: given
        integer :: n_atoms

        n_atoms = size(positions, 2)
        status = posterion_invalid_argument
        if (size(positions, 1) /= 3 .or. any(shape(forces) /= shape(positions))) return
        if (present(force_epistemic)) then
            if (size(force_epistemic) /= n_atoms) return
        end if
        given = c_null_ptr
        if (present(cell)) then
            vectors = reshape(cell, [9])
            given = c_loc(vectors)
        end if
        allocate (spread(n_atoms))
        if (present(force_epistemic)) spread = force_epistemic
        status = int(c_evaluate(self%handle, int(n_atoms, c_int), positions, given, forces, &
            spread, found))
        if (present(force_epistemic)) force_epistemic = spread
    end subroutine evaluate_session

    !> Hang up and free everything.
    subroutine close_session(self)
        class(posterion_session), intent(inout) :: self

        if (c_associated(self%handle)) call c_close(self%handle)
        self%handle = c_null_ptr
    end subroutine close_session

    !> One line about the last failure.
    function message_of(self) result(found)
        class(posterion_session), intent(in) :: self
        character(len=:), allocatable :: found

        found = fortran_text(c_message(self%handle))
        if (len(found) == 0) found = "invalid-argument: arrays of different shapes"
    end function message_of

    !> Stable name of the last failure, the service's own where it gave one.
    function code_of(self) result(found)
        class(posterion_session), intent(in) :: self
        character(len=:), allocatable :: found

        found = fortran_text(c_code(self%handle))
    end function code_of

    !> Name of the model that answers; empty before the first answer.
    function model_of(self) result(found)
        class(posterion_session), intent(in) :: self
        character(len=:), allocatable :: found

        found = fortran_text(c_model(self%handle))
    end function model_of

    !> Sample set that answers; empty before the first answer.
    function digest_of(self) result(found)
        class(posterion_session), intent(in) :: self
        character(len=:), allocatable :: found

        found = fortran_text(c_digest(self%handle))
    end function digest_of

    !> Questions answered so far.
    function n_answers_of(self) result(found)
        class(posterion_session), intent(in) :: self
        integer(c_int64_t) :: found

        found = c_n_answers(self%handle)
    end function n_answers_of

    !> Atomic number of an element's symbol; 0 where there is none.
    function posterion_atomic_number(symbol) result(found)
        character(len=*), intent(in) :: symbol
        integer :: found

        found = int(c_atomic_number(trim(symbol) // c_null_char))
    end function posterion_atomic_number

    !> Stable name of a status.
    function posterion_status_name(status) result(found)
        integer, intent(in) :: status
        character(len=:), allocatable :: found

        found = fortran_text(c_status_name(int(status, c_int)))
    end function posterion_status_name

    !> A text as C wants it, or nothing where it is empty.
    function c_text(given, buffer) result(found)
        character(len=*), intent(in) :: given
        character(kind=c_char), target, intent(inout) :: buffer(:)
        type(c_ptr) :: found
        integer :: i

        found = c_null_ptr
        if (len_trim(given) == 0) return
        do i = 1, len_trim(given)
            buffer(i) = given(i:i)
        end do
        buffer(len_trim(given) + 1) = c_null_char
        found = c_loc(buffer(1))
    end function c_text

    function fortran_text(given) result(found)
        type(c_ptr), intent(in) :: given
        character(len=:), allocatable :: found
        character(kind=c_char), pointer :: characters(:)
        integer :: i, n

        n = int(c_length(given))
        call c_f_pointer(given, characters, [n])
        allocate (character(len=n) :: found)
        do i = 1, n
            found(i:i) = characters(i)
        end do
    end function fortran_text

end module posterion
